/**
 * Name and version in a Windows binary: `deno compile` writes an icon, and
 * leaves what Explorer shows as details to others.
 *
 * @module
 */

/** Language and code page of the texts: English, Unicode. */
const ENGLISH = { lang: 0x0409, codepage: 1200 };

/** What is told of the binary. */
export interface Details {
  /** Name of the program. */
  name: string;
  /** What it is for, in a few words. */
  description: string;
  /** Its version, as three numbers. */
  version: string;
  /** The commit that it was made from. */
  commit: string | null;
}

/** The binary with the details in it; all else that it carries stays. */
export async function withDetails(
  binary: Uint8Array<ArrayBuffer>,
  { name, description, version, commit }: Details,
): Promise<Uint8Array> {
  const { NtExecutable, NtExecutableResource, Resource } = await import(
    // deno-lint-ignore no-import-prefix -- no other task fetches it
    "npm:resedit@3.1.0"
  );
  const executable = NtExecutable.from(binary);
  const resources = NtExecutableResource.from(executable);
  for (const { lang } of Resource.VersionInfo.fromEntries(resources.entries)) {
    resources.removeResourceEntry(16, 1, lang as number);
  }
  const info = Resource.VersionInfo.createEmpty();
  info.lang = ENGLISH.lang;
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  info.setFileVersion(major, minor, patch, 0, ENGLISH.lang);
  info.setProductVersion(major, minor, patch, 0, ENGLISH.lang);
  info.setStringValues(ENGLISH, {
    ProductName: name,
    FileDescription: description,
    FileVersion: version,
    ProductVersion: commit === null ? version : `${version} (${commit})`,
    InternalName: name,
    OriginalFilename: `${name}.exe`,
    LegalCopyright: "Apache-2.0",
  });
  info.outputToResourceEntries(resources.entries);
  resources.outputResource(executable);
  return new Uint8Array(executable.generate());
}
