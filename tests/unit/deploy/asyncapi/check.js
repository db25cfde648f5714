// The document of a file as the parser of the AsyncAPI Initiative reads it: how many messages, or what is wrong with it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Parser } = createRequire(import.meta.url)("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const wrong = diagnostics.filter((one) => one.severity <= 1); // errors and warnings; the rest are hints
for (const one of wrong) console.error(one.path.join("."), one.message);
if (!document || wrong.length) process.exit(1);
console.log(document.allMessages().length);
