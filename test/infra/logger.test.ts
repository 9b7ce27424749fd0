import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { createLogger } from '#infra/logger.ts';

const linesOf = (use: (log: ReturnType<typeof createLogger>) => void, level: 'info' | 'silent' = 'info') => {
  const lines: string[] = [];
  use(createLogger({ level, name: 'hub' }, { write: (line) => void lines.push(line) }));
  return lines;
};

const secret = 'hunter2';

test('secrets are replaced at every depth, in every spelling, and the rest stays', () => {
  const [line = ''] = linesOf((log) =>
    log.child({ jobId: 'j1' }).info(
      {
        backupId: 'b1',
        password: secret,
        request: { headers: { Authorization: `Bearer ${secret}`, 'set-cookie': [secret], accept: 'text/html' } },
        nodes: [{ access_token: secret, name: 'n1' }],
      },
      'request answered',
    ),
  );
  assert.ok(!line.includes(secret), line);
  const { jobId, backupId, request, nodes, msg } = JSON.parse(line);
  assert.deepEqual([jobId, backupId, msg], ['j1', 'b1', 'request answered']);
  assert.deepEqual(request, {
    headers: { Authorization: '[redacted]', 'set-cookie': '[redacted]', accept: 'text/html' },
  });
  assert.deepEqual(nodes, [{ access_token: '[redacted]', name: 'n1' }]);
});

test('errors keep their message and stack', () => {
  const [line = ''] = linesOf((log) => log.error({ err: new Error('disk is full') }, 'backup failed'));
  const { err } = JSON.parse(line);
  assert.equal(err.message, 'disk is full');
  assert.match(err.stack, /logger\.test\.ts/);
});

test('what is below the level is not written', () => {
  assert.equal(linesOf((log) => log.debug('x')).length, 0);
  assert.equal(linesOf((log) => log.fatal('x'), 'silent').length, 0);
});

test('without a terminal it writes JSON lines to stderr and nothing to stdout', async () => {
  const logger = JSON.stringify(fileURLToPath(import.meta.resolve('#infra/logger.ts')));
  const program = `import { createLogger } from ${logger}; createLogger({ level: 'info' }).info({ port: 1 }, 'listening');`;
  const { stdout, stderr } = await execa(process.execPath, ['--input-type=module', '--eval', program]);
  assert.equal(stdout, '');
  const { msg, port } = JSON.parse(stderr);
  assert.deepEqual([msg, port], ['listening', 1]);
});
