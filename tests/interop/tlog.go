// Checks with Go's own packages what this project wrote: a note, a key, proofs and
// tiles in the folder given. It says what is wrong and ends with 1, or signs the
// note's text anew and prints that.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type hashes []tlog.Hash

type facts struct {
	Vkey, PrivateKey, Checkpoint, Text string
	Size, Index, OldSize               int64
	Root, OldRoot                      tlog.Hash
	Entry                              []byte
	Inclusion, Consistency             hashes
}

type tiles string

func (dir tiles) Height() int                     { return 8 }
func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (dir tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range want {
		// C2SP leaves the height out.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		bytes, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func run(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "facts.json"))
	if err != nil {
		return err
	}
	var f facts
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(f.Vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(f.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if opened.Text != f.Text {
		return errors.New("the note has another text")
	}
	if err := tlog.CheckRecord(tlog.RecordProof(f.Inclusion), f.Size, f.Root,
		f.Index, tlog.RecordHash(f.Entry)); err != nil {
		return err
	}
	if err := tlog.CheckTree(tlog.TreeProof(f.Consistency), f.Size, f.Root,
		f.OldSize, f.OldRoot); err != nil {
		return err
	}
	// Reads the tiles, and holds them against the root.
	reader := tlog.TileHashReader(tlog.Tree{N: f.Size, Hash: f.Root}, tiles(dir))
	root, err := tlog.TreeHash(f.Size, reader)
	if err != nil {
		return err
	}
	if root != f.Root {
		return errors.New("the tiles have another root")
	}
	for index := int64(0); index < f.Size; index += 97 {
		proof, err := tlog.ProveRecord(f.Size, index, reader)
		if err != nil {
			return err
		}
		leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, f.Size, f.Root, index, leaf[0]); err != nil {
			return err
		}
	}
	proof, err := tlog.ProveTree(f.Size, f.OldSize, reader)
	if err != nil {
		return err
	}
	if fmt.Sprint(proof) != fmt.Sprint(f.Consistency) {
		return errors.New("Go proves the step to this tree otherwise")
	}
	signer, err := note.NewSigner(f.PrivateKey)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: f.Text}, signer)
	if err != nil {
		return err
	}
	fmt.Print(string(signed))
	return nil
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
