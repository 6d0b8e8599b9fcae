// Unpacks Chromium, a font, and the libraries that small systems lack, into the folder that TMPDIR names.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

// The package unpacks its libraries only where it sees a Lambda runtime.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();

// Its own settings for fonts name folders of Lambda.
const fonts = join(process.env.TMPDIR, "fonts");
const folder = `<dir>${join(fonts, "fonts")}</dir><cachedir>${join(fonts, "cache")}</cachedir>`;
const settings = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>${folder}</fontconfig>\n`;
writeFileSync(join(fonts, "fonts.conf"), settings);
