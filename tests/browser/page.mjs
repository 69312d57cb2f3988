// What a reader does with a page, by keys and by pointer, and what he must see.

import { launch, open, stepOf, test, close, assert, home } from './browser.mjs';

const browser = await launch();
const lesson = home + '/section-17-timeline.html';
const broken = home + '/museum-02-timeline.html';

// Opens a page for a body, which must leave no error behind and must have asked for that one file only.
const on = (file, options, body) => async () => {
  const { page, asked, errors } = await open(browser, file, options);
  await body(page);
  assert.deepEqual(errors, []);
  assert.deepEqual([...new Set(asked.map((url) => url.replace(/#.*/, '')))], ['file://' + file]);
  await page.close();
};
const cell = (page, lane, offset) => page.locator(`.cell[data-lane="${lane}"][data-offset="${offset}"]`);
const text = (page, selector) => page.locator(selector).innerText();

// Where the lesson's truncation and its second election are; their numbers are the run's affair.
const at = await (async () => {
  const { page } = await open(browser, lesson);
  const found = await page.evaluate(() => ({ cut: turns.t[0] + 1, elected: turns.e.filter((at) => at < turns.t[0]).at(-1) + 1, last: LAST + 1 }));
  await page.close();
  return found;
})();
const cut = { hash: '#step=' + at.cut };

await test('offset 102 leaves the log of B1 by a key', on(lesson, {}, async (page) => {
  await page.keyboard.press('t');
  assert.equal(await stepOf(page), at.cut);
  assert.match(await text(page, '#now'), /truncated t-0 from end 103 to end 102/);
  assert.match(await text(page, '#now'), /KIP-101/);
  assert.match(await cell(page, 'b1', 102).getAttribute('class'), /\bcut\b/);
  assert.match(await cell(page, 'b1', 102).getAttribute('title'), /e0, p1-00000000, cut off in this step/);
  assert.match(await cell(page, 'b2', 102).getAttribute('title'), /e1, p2-00000102/);
  await page.keyboard.press('ArrowLeft');
  assert.ok(await stepOf(page) < at.cut);
  assert.match(await cell(page, 'b1', 102).getAttribute('title'), /e0, p1-00000000, above the high watermark/);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  assert.ok(await stepOf(page) > at.cut);
  await page.evaluate((step) => go(step), at.cut);
  assert.equal(await page.locator('.cell.cut').count(), 0, 'it is cut once');
  assert.equal(await page.evaluate(() => nowCursor.replica(0, chosen).o > 102 && valueAt(0, chosen, 102, current)), false);
}));

await test('the producer was told of offset 102, and then no replica has it', on(lesson, {}, async (page) => {
  const told = page.locator('#clients > li', { hasText: 'p1' }).locator('em');
  await page.evaluate(() => go(turns.t[0] - 1));
  assert.match(await told.innerText(), /now on b1/);
  await page.keyboard.press('ArrowRight');
  assert.match(await told.innerText(), /now on no replica/);
}));

await test('keys go forward and back, to both ends and to what turned', on(lesson, {}, async (page) => {
  await page.keyboard.press('Home');
  assert.equal(await stepOf(page), 1);
  await page.keyboard.press('End');
  assert.equal(await stepOf(page), await page.evaluate(() => LAST + 1));
  await page.keyboard.press('Home');
  for (const [key, sign] of [['e', 'E'], ['a', 'A'], ['t', 'T'], ['i', 'I']]) {
    await page.keyboard.press(key);
    assert.equal((await text(page, '#now .sign')).trim(), sign);
  }
  const at = await stepOf(page);
  await page.keyboard.press('Shift+T');
  assert.ok(await stepOf(page) < at);
  await page.keyboard.press('v');
  assert.match(await text(page, '#notice'), /No later violation/);
  await page.keyboard.press('?');
  assert.ok(await page.locator('#help').isVisible());
  await page.keyboard.press('Escape');
  assert.ok(!(await page.locator('#help').isVisible()));
}));

await test('space plays until it is pressed again', on(lesson, {}, async (page) => {
  const at = await stepOf(page);
  for (let i = 0; i < 9; i++) await page.keyboard.press('+');
  await page.keyboard.press(' ');
  await page.waitForFunction((at) => current + 1 > at + 20, at);
  await page.keyboard.press(' ');
  const stopped = await stepOf(page);
  await page.waitForTimeout(150);
  assert.equal(await stepOf(page), stopped);
}));

await test('a link names a step, and every step has one', on(lesson, cut, async (page) => {
  assert.match(await text(page, '#now h2'), new RegExp(`^Step ${at.cut} of`));
  await page.evaluate((step) => { location.hash = '#step=' + step; }, at.elected);
  await page.waitForFunction((step) => current === step - 1, at.elected);
  assert.match(await text(page, '#now'), /leads t-0/);
  await page.evaluate(() => { location.hash = '#step=99999999'; });
  await page.waitForFunction(() => current === LAST);
}));

await test('the line is clicked and dragged', on(lesson, {}, async (page) => {
  const box = await page.locator('#scrubber').boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  const middle = await stepOf(page);
  assert.ok(Math.abs(middle / at.last - 0.5) < 0.03, `${middle}`);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 20, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  assert.ok(await stepOf(page) > at.last * 0.95);
}));

await test('why: the answer that told b1 where its leader\'s epoch ends', on(lesson, cut, async (page) => {
  const why = page.locator('#why > ul > li').first();
  assert.match(await why.innerText(), /because of a message/);
  const sent = await page.evaluate(() => messages.find((message) => message.ended === current).sent);
  await why.locator('a').click();
  assert.equal(await stepOf(page), sent + 1);
  assert.match(await text(page, '#now .what'), /^b2 reads Fetch of b1/);
  await page.evaluate((step) => go(step - 1), at.cut);
  await page.locator('#why summary').click();
  assert.ok(await page.locator('#why .chain li').count() >= 3);
}));

await test('why: a node that starts does so because it was started', on(lesson, {}, async (page) => {
  const found = await page.evaluate(() => view.steps.findIndex((step, at) => causesOf(at).some(([why]) => why === 's')));
  assert.ok(found > 0, 'the script waited for something');
  const fault = await page.evaluate(() => view.steps.findIndex((step, at) => causesOf(at).some(([why]) => why === 'f')));
  await page.evaluate((at) => go(at), fault);
  assert.match(await text(page, '#why'), /because of a fault/);
}));

await test('a message is decoded where one points at it', on(lesson, cut, async (page) => {
  await page.locator('#messages li', { hasText: 'Fetch answer' }).first().focus();
  assert.match(await text(page, '#message'), /b2 → b1 Fetch answer/);
  assert.match(await text(page, '#message pre'), /diverging_epoch: \{\s+epoch: 0,\s+end_offset: 102/);
  await page.locator('.arrow.here').last().hover({ force: true });
  assert.match(await text(page, '#message h3'), /Fetch/);
  await page.keyboard.press('/');
  await page.keyboard.type('acks: 1');
  await page.keyboard.press('Enter');
  await page.locator('#messages li', { hasText: 'p1 → b1 Produce' }).hover();
  assert.match(await text(page, '#message pre'), /p1-00000000/);
}));

await test('a search goes through what was said and sent, in both directions', on(lesson, {}, async (page) => {
  await page.keyboard.press('Home');
  await page.keyboard.press('/');
  await page.keyboard.type('p1-00000000');
  await page.keyboard.press('Enter');
  const first = await stepOf(page);
  assert.match(await text(page, '#now'), /p1-00000000/);
  await page.keyboard.press('Enter');
  assert.ok(await stepOf(page) > first);
  await page.keyboard.press('Shift+Enter');
  assert.equal(await stepOf(page), first);
  await page.locator('#search').fill('nobody ever said this');
  await page.keyboard.press('Enter');
  assert.match(await text(page, '#notice'), /No step says that/);
}));

await test('filters by API, partition and node leave what they name', on(lesson, {}, async (page) => {
  await page.locator('.filter summary').click();
  const visible = () => page.evaluate(() => filter.visible.length);
  const all = await visible();
  await page.locator('#of-api').selectOption({ label: 'AlterPartition' });
  assert.equal(await page.evaluate(() => filter.visible.every((at) => [...(sentBy.get(at) || []), ...(readBy.get(at) || [])]
    .some((message) => view.apis[message.api] === 'AlterPartition'))), true);
  assert.ok(await visible() > 0);
  await page.locator('#of-api').selectOption({ label: 'all' });
  await page.locator('#level').selectOption('story');
  await page.locator('#of-partition').selectOption({ label: 't-0' });
  assert.ok(await visible() > 0 && await visible() < all);
  await page.locator('#of-partition').selectOption({ label: 'all' });
  await page.locator('fieldset label', { hasText: 'b3' }).locator('input').uncheck();
  assert.equal(await page.evaluate(() => filter.visible.some((at) => view.steps[at].n === 2)), false);
  assert.equal(await page.locator('.lane-name', { hasText: 'b3' }).count(), 0);
  await page.locator('#level').selectOption('turns');
  assert.ok(await visible() < all / 2);
}));

await test('a lesson asks by itself, takes numbers, lets nobody past and ends with what to remember', on(home + '/lesson.html', {}, async (page) => {
  const quiz = page.locator('#quiz');
  assert.equal(await page.locator('#quiz-on').getAttribute('aria-pressed'), 'true');
  await page.keyboard.press('End');
  assert.ok(await quiz.isVisible(), 'not even to the end does one get past a question');
  const asked = await stepOf(page);
  await page.keyboard.press('9');
  assert.match(await text(page, '#verdict'), /^$/);
  await page.keyboard.press('1');
  assert.match(await text(page, '#verdict'), /^(Right|Not so)\./);
  await page.keyboard.press('Enter');
  assert.ok(await quiz.isHidden() && await stepOf(page) > asked);
  for (let i = 0; i < 9 && await stepOf(page) < await page.evaluate(() => LAST + 1); i++) {
    await page.keyboard.press('End');
    if (await quiz.isVisible()) { await page.keyboard.press('2'); await page.keyboard.press('Enter'); }
  }
  assert.match(await text(page, '#now'), /Remember:/);
}));

await test('the quiz asks before it shows, and tells right from wrong', on(lesson, {}, async (page) => {
  await page.keyboard.press('q');
  await page.keyboard.press('e');
  const before = await stepOf(page);
  assert.match(await text(page, '#quiz'), /Who will lead\?/);
  assert.equal(await page.locator('.dot.later').count(), 0, 'what comes is hidden');
  await page.getByRole('button', { name: 'b3', exact: true }).click();
  assert.match(await text(page, '#verdict'), /Not so\. b2 leads in epoch 1/);
  assert.ok(await page.locator('.choices .wrong').count() === 1 && await page.locator('.choices .right').innerText() === '✓ b2');
  assert.equal(await stepOf(page), before, 'shown only when one asks for it');
  await page.keyboard.press('Enter');
  assert.ok(await stepOf(page) > before);
  await page.keyboard.press('t');
  assert.match(await text(page, '#quiz'), /first offset that it loses/);
  assert.equal(await page.locator('.cell.cut').count(), 0);
  await page.getByRole('button', { name: 'offset 102' }).click();
  assert.match(await text(page, '#verdict'), /Right\. .*\(1 of 2 right\)/);
  await page.keyboard.press('Enter');
  assert.match(await cell(page, 'b1', 102).getAttribute('class'), /\bcut\b/);
}));

await test('a broken promise is marked and told in three sentences', on(broken, {}, async (page) => {
  await page.keyboard.press('Home');
  await page.keyboard.press('v');
  assert.equal((await text(page, '#now .sign')).trim(), '!');
  const sentences = await page.locator('#now .failure').first().locator('p').allInnerTexts();
  assert.equal(sentences.length, 3);
  assert.match(sentences[0], /^X11 promises everybody .*: A leader credits a follower only with what it holds \(KAFKA-13141\)\.$/);
  assert.match(sentences[1], /^In t-0 broker 1 was credited up to 8/);
  assert.match(sentences[2], /^It showed at b2, in step \d+/);
  assert.ok(await page.locator('#ticks .failed').count() >= 1);
  assert.ok(await page.locator('.dot.now.failed').count() === 1);
}));

await test('the cluster by the page is the cluster of the keyframes', on(lesson, {}, async (page) => {
  const differ = await page.evaluate(() => {
    const plain = (cursor) => JSON.stringify(['replicas', 'nodes', 'clients', 'decided'].map((name) => [...cursor[name]].sort()).concat([cursor.cuts, cursor.faults]));
    const walked = new Cursor();
    const found = [];
    view.keyframes.forEach((keyframe, number) => {
      for (let at = Math.max(0, (number - 1) * KEYFRAME_EVERY); at < number * KEYFRAME_EVERY; at++) walked.apply(view.steps[at].c);
      const kept = new Cursor();
      kept.apply(keyframe);
      if (plain(walked) !== plain(kept)) found.push(number);
    });
    return [found, view.keyframes.length];
  });
  assert.deepEqual(differ[0], []);
  assert.ok(differ[1] > 2, 'several keyframes were compared');
}));

await test('everything has a name for who does not see it, and is reached by tab', on(lesson, cut, async (page) => {
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, select, input, summary, [tabindex="0"]')]
    .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim() || element.closest('label')?.textContent.trim())).map((element) => element.outerHTML));
  assert.deepEqual(nameless, []);
  const label = await page.locator('.replica').first().getAttribute('aria-label');
  assert.match(label, /b1: log from 0 to 102 \(exclusive\), high watermark 101/);
  const reached = new Set();
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < 90; i++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
  }
  for (const id of ['play', 'forward', 'jump-t', 'scrubber', 'quiz-on', 'partition']) assert.ok(reached.has(id), id);
  assert.match(await page.locator('#speech').textContent(), new RegExp(`Step ${at.cut}\\. b1 truncated`));
}));

await test('dark and light by the system and by a key', on(lesson, { colorScheme: 'dark' }, async (page) => {
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await page.keyboard.press('d');
  assert.notEqual(await paper(), dark);
  await page.keyboard.press('d');
  assert.equal(await paper(), dark);
}));

await test('markup in the data stays text', on(lesson, {}, async (page) => {
  await page.evaluate(() => { view.steps[0].q = { told: '<img src=x onerror=alert(1)><b>bold</b>' }; go(0); });
  assert.equal(await page.locator('#now img, #now .told b').count(), 0);
  assert.match(await text(page, '#now .told'), /<b>bold/);
}));

await browser.close();
close();
