/**
 * Prints the TypeScript types of an OpenAPI description that comes by stdin.
 *
 * @module
 */

// deno-lint-ignore no-import-prefix -- no task but the tests fetches it
import openapiTS, { astToString } from "npm:openapi-typescript@7.13.0";

const description = await new Response(Deno.stdin.readable).json();
console.log(astToString(await openapiTS(description)));
