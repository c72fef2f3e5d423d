/**
 * What little XML there is in S3: elements in elements, no attributes that
 * matter, and what keys there are is percent-encoded in it.
 *
 * @module
 */

/** What stands in each element of this name, in order. */
export function elements(xml: string, name: string): string[] {
  const found = xml.matchAll(
    new RegExp(`<${name}(?:\\s[^>]*)?>([^]*?)</${name}>`, "g"),
  );
  return Array.from(found, (match) => match[1]!);
}

/** The text of the first element of this name; null when there is none. */
export function textOf(xml: string, name: string): string | null {
  const [text] = elements(xml, name);
  return text === undefined ? null : unescape(text);
}

/** A text as it stands in XML. */
export function escape(text: string): string {
  return text.replace(/[<>&"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

const ENTITIES: Record<string, string> = {
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  amp: "&",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi,
    (all, decimal, hex, name) => {
      if (name) return ENTITIES[name] ?? all;
      return String.fromCodePoint(
        decimal ? Number(decimal) : parseInt(hex, 16),
      );
    },
  );
}
