/**
 * The package that signs requests. Named here and not in `deno.json`, whose
 * packages every program that imports this one would fetch.
 *
 * @module
 */

export { AwsV4Signer } from "npm:aws4fetch@1.0.20";
