import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMetrics } from '#infra/metrics/registry.ts';

const setUp = (sourceTimeoutMs = 2_000) => {
  const warnings: object[] = [];
  const log = { warn: (fields: object) => void warnings.push(fields) };
  return { metrics: createMetrics({ log, version: '1.2.3', sourceTimeoutMs }), warnings };
};

/** A source whose answer the test decides. */
const addSource = (metrics: ReturnType<typeof setUp>['metrics'], name: string, read: () => Promise<number>) => {
  const gauge = metrics.gauge({ name: `sendense_test_${name}`, help: 'A test' });
  metrics.addSource({ name, gauges: [gauge], read, write: (value) => gauge.set(value) });
};

describe('a scrape', () => {
  test('tells what each source answers now, and that it could be read', async () => {
    const { metrics } = setUp();
    let value = 1;
    addSource(metrics, 'queue', async () => value++);
    assert.match(await metrics.render('prometheus'), /^sendense_test_queue 1$/m);
    const text = await metrics.render('prometheus');
    assert.match(text, /^sendense_test_queue 2$/m);
    assert.match(text, /^sendense_scrape_error\{source="queue"\} 0$/m);
    assert.match(text, /^sendense_build_info\{version="1\.2\.3",node_version="[\d.]+"\} 1$/m);
  });

  test('leaves out the numbers of a source that fails, says so, and tells all others', async () => {
    const { metrics, warnings } = setUp();
    let works = true;
    addSource(metrics, 'broken', async () => {
      if (works) return 7;
      throw new Error('no route to host');
    });
    addSource(metrics, 'well', async () => 3);
    assert.match(await metrics.render('prometheus'), /^sendense_test_broken 7$/m);
    works = false;
    const text = await metrics.render('prometheus');
    assert.doesNotMatch(text, /^sendense_test_broken\b/m);
    assert.match(text, /^# TYPE sendense_test_broken gauge$/m);
    assert.match(text, /^sendense_scrape_error\{source="broken"\} 1$/m);
    assert.match(text, /^sendense_test_well 3$/m);
    await metrics.render('prometheus');
    assert.equal(warnings.length, 1, 'a failure that lasts is logged once');
  });

  test('does not wait for a source that hangs, nor asks it again before it has answered', async () => {
    const { metrics } = setUp(30);
    const { promise, resolve } = Promise.withResolvers<number>();
    let asked = 0;
    addSource(metrics, 'hanging', () => {
      asked += 1;
      return promise;
    });
    assert.match(await metrics.render('prometheus'), /^sendense_scrape_error\{source="hanging"\} 1$/m);
    assert.match(await metrics.render('prometheus'), /^sendense_scrape_error\{source="hanging"\} 1$/m);
    assert.equal(asked, 1);
    resolve(5);
    await new Promise(setImmediate); // whoever waits for the answer has heard it
    assert.match(await metrics.render('prometheus'), /^sendense_test_hanging 5$/m);
    assert.equal(asked, 2);
  });

  test('is shared by all who ask at the same time', async () => {
    const { metrics } = setUp();
    let asked = 0;
    addSource(metrics, 'slow', async () => {
      await new Promise(setImmediate);
      return ++asked;
    });
    const [first, second] = await Promise.all([metrics.render('prometheus'), metrics.render('openmetrics')]);
    assert.match(first, /^sendense_test_slow 1$/m);
    assert.match(second, /^sendense_test_slow 1$/m);
  });
});

describe('OpenMetrics', () => {
  test('names a counter without the suffix of its samples, has no blank lines, and an end', async () => {
    const { metrics } = setUp();
    metrics.counter({ name: 'sendense_tests_total', help: 'Tests', labels: ['outcome'] }).inc({ outcome: 'passed' }, 2);
    const lines = (await metrics.render('openmetrics')).split('\n');
    assert.ok(lines.includes('# HELP sendense_tests Tests'));
    assert.ok(lines.includes('# TYPE sendense_tests counter'));
    assert.ok(lines.includes('sendense_tests_total{outcome="passed"} 2'));
    assert.deepEqual(lines.slice(-2), ['# EOF', '']);
    assert.equal(lines.indexOf(''), lines.length - 1);
    const plain = await metrics.render('prometheus');
    assert.match(plain, /^# TYPE sendense_tests_total counter$/m, 'the other format stays as it is');
  });
});
