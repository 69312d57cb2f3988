// Headless Chromium on a page that lies on this disk, and a small harness around it.

import { createRequire } from 'node:module';
import { strict as assert } from 'node:assert';

const home = process.env.BROWSER_HOME;
const { chromium } = createRequire(home + '/x.js')('playwright-core');

// Without the last few, Chromium calls its maker.
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: FLAGS });

// Opens a page; `asked` fills with every address that it asks for, `errors` with what went wrong in it.
export async function open(browser, file, { hash = '', width = 1280, height = 800, colorScheme = 'light' } = {}) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const asked = [];
  const errors = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error') errors.push(message.text()); });
  await page.goto('file://' + file + hash);
  await shown(page);
  return { page, asked, errors };
}

// The page has read its run and shows a step of it.
export const shown = (page) => page.locator('#place').waitFor();
export const stepOf = (page) => page.evaluate(() => Number(/step=(\d+)/.exec(location.hash)[1]));

let passed = 0;
let failed = 0;
export async function test(name, body) {
  try {
    await body();
    passed += 1;
  } catch (error) {
    failed += 1;
    console.error(`FAIL ${name}: ${error.stack}`);
  }
}
export function close() {
  console.log(`browser: ${passed} passed, ${failed} failed`);
  process.exitCode = failed || !passed ? 1 : 0;
}
export { assert, home };
