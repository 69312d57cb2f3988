// `play` as somebody plays: the leader crashes, another one is elected, the crash is undone; branches, lights, saving.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { launch, test, close, assert, home } from './browser.mjs';

const server = spawn(process.env.HIGHWATER || 'target/release/highwater', ['play', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const address = await new Promise((found, failed) => {
  let printed = '';
  server.stdout.on('data', (data) => {
    printed += data;
    const match = /http:\/\/127\.0\.0\.1:\d+\//.exec(printed);
    if (match) found(match[0]);
  });
  server.on('exit', (code) => failed(new Error(`play ended with ${code}: ${printed}`)));
});
const browser = await launch();

// Opens the table for a body, which must leave no error behind and must have asked nobody but the server.
const on = (size, body) => async () => {
  const page = await browser.newPage({ viewport: size, acceptDownloads: true });
  const asked = [];
  const errors = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error' && !/favicon/.test(message.location().url)) errors.push(message.text()); });
  await page.goto(address);
  await settled(page, 'What happens now is up to you');
  await body(page);
  assert.deepEqual(errors, []);
  assert.deepEqual(asked.filter((url) => !url.startsWith(address) && !url.startsWith('blob:')), []);
  await page.close();
};
// The place in the tree is where we stand, and its run is shown.
const settled = async (page, label) => {
  await page.locator('#tree button[aria-current=true]', { hasText: label }).waitFor();
  await page.frameLocator('#run').locator('#now h2').waitFor();
};
const leader = async (page) => {
  const states = await page.locator('.node').allInnerTexts();
  return states.map((state) => /^(b\d)[^]*leads t-0/.exec(state)?.[1]).find(Boolean);
};
const large = { width: 1280, height: 800 };

await test('the leader crashes, another is elected; undone, it never happened', on(large, async (page) => {
  assert.equal(await leader(page), 'b1');
  await page.click('#kill-b1');
  await settled(page, 'b1: crash');
  assert.match(await page.innerText('#node-b1'), /down/);
  await page.click('#wait-5000');
  await settled(page, '5 s pass');
  const next = await leader(page);
  assert.ok(next && next !== 'b1', `${next} leads`);
  assert.match(await page.frameLocator('#run').locator('#decision').innerText(), new RegExp(`leader ${next}|${next} leads`));
  await page.click('#undo');
  await settled(page, 'b1: crash');
  await page.keyboard.press('u');
  await settled(page, 'What happens now is up to you');
  assert.equal(await leader(page), 'b1');
  assert.match(await page.innerText('#node-b1'), /up/);
  await page.keyboard.press('r');
  await settled(page, 'b1: crash');
}));

await test('another move from an earlier moment is a branch, and both stay', on(large, async (page) => {
  await page.click('#kill-b1');
  await settled(page, 'b1: crash');
  await page.click('#undo');
  await settled(page, 'What happens now is up to you');
  await page.click('#pause-b2');
  await settled(page, 'b2: freeze');
  assert.match(await page.innerText('#node-b2'), /frozen/);
  assert.equal(await page.locator('#tree ul').count(), 2);
  await page.click('#tree button:has-text("b1: crash")');
  await settled(page, 'b1: crash');
  assert.match(await page.innerText('#node-b1'), /down/);
  assert.match(await page.innerText('#node-b2'), /up/);
}));

await test('records go out, messages are held and let through, and the checks look', on(large, async (page) => {
  const looked = async () => Number(/looked (\d+)/.exec(await page.getAttribute('#light-I9', 'title'))?.[1] || 0);
  const before = await looked();
  await page.selectOption('#producer', 'p2');
  await page.fill('#count', '7');
  await page.click('#send');
  await settled(page, 'p2 sends 7 to t-0');
  assert.ok(await looked() > before);
  assert.equal(await page.locator('#lights .broken').count(), 0);
  await page.click('#hold');
  await settled(page, 'hold b1 → b2');
  await page.click('#let-through');
  await settled(page, 'let one through b1 → b2');
  await page.click('#drop');
  await settled(page, 'drop one b1 → b2');
  await page.click('#alter');
  await settled(page, 'min.insync.replicas=1');
}));

await test('a move that cannot be is refused in words, and the place stays', on(large, async (page) => {
  await page.fill('#count', '0');
  await page.fill('#to-value', 'many');
  await page.click('#alter');
  await page.locator('#wrong:not(:empty)').waitFor();
  assert.match(await page.innerText('#wrong'), /min\.insync\.replicas/);
  await settled(page, 'What happens now is up to you');
}));

await test('what was played is saved as a scenario that replay takes', on(large, async (page) => {
  await page.click('#kill-b1');
  await settled(page, 'b1: crash');
  await page.click('#start-b1');
  await settled(page, 'b1: start');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  assert.equal(download.suggestedFilename(), 'my-game.json');
  const file = home + '/my-game.json';
  await download.saveAs(file);
  assert.equal(JSON.parse(await readFile(file)).name, 'my-game');
  const replay = spawn(process.env.HIGHWATER || 'target/release/highwater', ['replay', file, '--seed', '0'], { stdio: 'ignore' });
  assert.equal(await new Promise((ended) => replay.on('exit', ended)), 0);
}));

for (const [width, height] of [[1280, 800], [390, 844]]) {
  await test(`nothing is cut at ${width}x${height}`, on({ width, height }, async (page) => {
    await page.screenshot({ path: `${home}/play-${width}.png` });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it does not scroll sideways');
    const wide = await page.locator('aside *').evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().right > one.closest('aside').getBoundingClientRect().right + 1).map((one) => one.id || one.tagName));
    assert.deepEqual(wide, []);
  }));
}

await browser.close();
server.removeAllListeners('exit');
server.kill();
close();
