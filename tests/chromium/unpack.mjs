// Unpacks Chromium, a font, and the libraries that small systems lack, into the folder that TMPDIR names.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

// The package unpacks its libraries only where it sees a Lambda runtime.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();

// Its own settings for fonts name folders of Lambda.
const folder = '<dir prefix="relative">fonts</dir><cachedir prefix="relative">cache</cachedir>';
const settings = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>${folder}</fontconfig>\n`;
writeFileSync(join(process.env.TMPDIR, "fonts/fonts.conf"), settings);
