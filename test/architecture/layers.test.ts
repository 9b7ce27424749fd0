import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { z } from 'zod';

const root = resolve(import.meta.dirname, '../..');
const importRule = 'lint/style/noRestrictedImports';

/** Imports per file: what the table of layers allows, and what it forbids. */
const imports: Readonly<Record<string, Readonly<{ legal: readonly string[]; forbidden: readonly string[] }>>> = {
  'domain/backup/decide.ts': {
    legal: ['./state.ts', '../errors.ts', '../repository/ids.ts', '#domain/errors.ts'],
    forbidden: [
      'node:crypto',
      'zod',
      'rxjs',
      '#commands/handle.ts',
      '../../commands/handle.ts',
      '#wire/backup.ts',
      '../../main.ts',
    ],
  },
  'domain/decider.ts': {
    legal: ['./errors.ts'],
    forbidden: ['../commands/handle.ts', '../main.ts', '../../test/support/given.ts'],
  },
  'commands/start-backup.ts': {
    legal: ['./ports.ts', '#domain/backup/decide.ts'],
    forbidden: ['node:crypto', 'kysely', '#infra/logger.ts', '#projections/apply.ts', '../domain/errors.ts'],
  },
  'projections/backup-list.ts': {
    legal: ['./apply.ts', './migrations/0001-tables.ts', '#domain/backup/events.ts', 'kysely'],
    forbidden: ['pg', '#infra/postgres/pool.ts', '#commands/ports.ts', 'node:fs'],
  },
  'process-managers/backup/perform.ts': {
    legal: ['../ports.ts', '#commands/handle.ts', '#domain/backup/state.ts', 'rxjs'],
    forbidden: [
      'execa',
      'node:fs/promises',
      '#projections/apply.ts',
      '#infra/qemu/qemu-nbd.ts',
      '../../infra/logger.ts',
    ],
  },
  'http/routes/backups.ts': {
    legal: [
      '../route.ts',
      '#commands/handle.ts',
      '#projections/apply.ts',
      '#wire/backup.ts',
      'express',
      'zod',
      'node:fs/promises',
    ],
    forbidden: [
      'pg',
      'execa',
      '#infra/logger.ts',
      '#process-managers/ports.ts',
      '#sna/api.ts',
      '../../composition/hub.ts',
      '../../infra/logger.ts',
    ],
  },
  'infra/qemu/qemu-nbd.ts': {
    legal: [
      '../logger.ts',
      '#process-managers/ports.ts',
      '#commands/ports.ts',
      '#domain/errors.ts',
      'execa',
      '@grpc/grpc-js',
      'node:fs',
    ],
    forbidden: ['#http/app.ts', '../../http/app.ts', '#sna/api.ts', '../../domain/errors.ts', '../../main.ts'],
  },
  'wire/backup.ts': { legal: ['./telemetry.ts', 'zod'], forbidden: ['#domain/errors.ts', 'node:fs', 'express'] },
  'sna/sources/disk-image.ts': {
    legal: ['../api.ts', '#wire/backup.ts', 'execa', 'express', 'node:fs/promises'],
    forbidden: ['#domain/errors.ts', '#infra/logger.ts', '#commands/ports.ts', '../../infra/logger.ts'],
  },
  'demo/story.ts': {
    legal: ['./api.ts', 'execa', 'zod', 'node:fs/promises'],
    forbidden: ['#domain/errors.ts', '#infra/logger.ts', '#sna/api.ts', '../main.ts', '../infra/logger.ts'],
  },
};

/** A file per other rule, each breaking exactly that one. */
const violations: Readonly<Record<string, readonly [path: string, code: string]>> = {
  'lint/style/noRestrictedGlobals (clock)': ['domain/clock.ts', 'export const now = () => new Date();'],
  'lint/style/noRestrictedGlobals (settings)': ['domain/settings.ts', 'export const home = () => process.cwd();'],
  'lint/style/noRestrictedGlobals (ids)': ['domain/random-id.ts', 'export const id = () => crypto.randomUUID();'],
  'lint/style/noRestrictedGlobals (network)': ['domain/network.ts', "export const get = () => fetch('/');"],
  'lint/style/noRestrictedGlobals (timer)': [
    'domain/timer.ts',
    'export const later = (f: () => void) => setTimeout(f, 1);',
  ],
  'lint/nursery/noJsRestrictedProperties': ['domain/random.ts', 'export const dice = () => Math.random();'],
  'lint/style/noProcessEnv': ['commands/env.ts', 'export const user = () => process.env.USER;'],
  'lint/suspicious/noConsole': ['infra/print.ts', "export const hello = () => console.log('hello');"],
  'lint/style/noDefaultExport': ['infra/default.ts', 'export default 1;'],
  'lint/nursery/noFloatingPromises': [
    'infra/floating.ts',
    'const work = async (): Promise<void> => {};\nexport const start = (): void => {\n  work();\n};',
  ],
  'lint/nursery/noMisusedPromises': [
    'infra/misused.ts',
    'const ready = async (): Promise<boolean> => true;\nexport const go = () => {\n  if (ready()) return 1;\n  return 2;\n};',
  ],
  'lint/suspicious/noImportCycles': ['infra/cycle-a.ts', "export { b } from './cycle-b.ts';\nexport const a = 1;"],
};
const otherHalfOfCycle = ['infra/cycle-b.ts', "export { a } from './cycle-a.ts';\nexport const b = 1;"] as const;

const Report = z.object({
  diagnostics: z.array(
    z.object({ category: z.string(), location: z.object({ path: z.string(), start: z.object({ line: z.int() }) }) }),
  ),
});
/** `<file>:<line> <rule>` of everything that Biome found. */
let found: ReadonlySet<string> = new Set();
let project = '';

const plant = async (path: string, code: string): Promise<void> => {
  await mkdir(dirname(join(project, 'src', path)), { recursive: true });
  await writeFile(join(project, 'src', path), `${code}\n`);
};

/** The real rules on a tree of planted files: the working tree is never made dirty. */
before(async () => {
  project = await mkdtemp(join(tmpdir(), 'layers-'));
  for (const name of ['biome.json', 'package.json', 'tsconfig.json']) await cp(join(root, name), join(project, name));
  await symlink(join(root, 'node_modules'), join(project, 'node_modules'));
  for (const [path, { legal, forbidden }] of Object.entries(imports)) {
    await plant(path, [...legal, ...forbidden].map((from, n) => `export { x as x${n} } from '${from}';`).join('\n'));
  }
  for (const [path, code] of [...Object.values(violations), otherHalfOfCycle]) await plant(path, code);
  const biome = join(root, 'node_modules/.bin/biome');
  const { stdout } = await execa(biome, ['lint', '--reporter=json', '--max-diagnostics=none', 'src'], {
    cwd: project,
    reject: false,
  });
  const { diagnostics } = Report.parse(JSON.parse(stdout));
  found = new Set(diagnostics.map(({ category, location }) => `${location.path}:${location.start.line} ${category}`));
});
after(() => rm(project, { recursive: true, force: true }));

for (const [path, { legal, forbidden }] of Object.entries(imports)) {
  describe(`src/${path}`, () => {
    for (const [n, from] of legal.entries()) {
      test(`may import ${from}`, () => assert.ok(!found.has(`src/${path}:${n + 1} ${importRule}`)));
    }
    for (const [n, from] of forbidden.entries()) {
      test(`may not import ${from}`, () => assert.ok(found.has(`src/${path}:${legal.length + n + 1} ${importRule}`)));
    }
  });
}

for (const [name, [path]] of Object.entries(violations)) {
  test(`src/${path} is refused by ${name}`, () => {
    const rule = name.split(' ')[0];
    assert.ok([...found].some((finding) => finding.startsWith(`src/${path}:`) && finding.endsWith(` ${rule}`)));
  });
}

/** Wires everything, as main.ts does: the one folder that may import all. */
const compositionRoot = 'src/composition/**';

test('every folder of src has a rule', async () => {
  const { overrides } = JSON.parse(await readFile(join(root, 'biome.json'), 'utf8'));
  const entries = await readdir(join(root, 'src'), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => `src/${name}/**`);
  const ruled = overrides.flatMap(({ includes }: { includes: readonly string[] }) => includes);
  assert.deepEqual(
    folders.filter((folder) => folder !== compositionRoot && !ruled.includes(folder)),
    [],
  );
});
