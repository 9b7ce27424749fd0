import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { changeExtents } from '../support/lab-vm.ts';
import { Lab, mib } from './lab.ts';
import { exportImage } from './nbd-export.ts';

const T = async (name: string, f: () => Promise<unknown>) => {
  const s = performance.now();
  await f();
  console.log(name.padEnd(40), Math.round(performance.now() - s), 'ms');
};
test('bench', async (t) => {
  const lab = await Lab.open(t);
  const vm = await lab.makeVm({
    name: 'big',
    disks: [
      { sizeBytes: 2048 * mib, dataBytes: 500 * mib },
      { sizeBytes: 2048 * mib, dataBytes: 500 * mib },
    ],
  });
  await execa('sync');
  console.log((await Promise.all(vm.disks.map((d) => stat(d)))).map((s) => (s.blocks * 512) / mib));
  await T('node start', () => lab.startNode());
  await T('tracked', () => lab.tracked(2));
  const bare = async (tag: string, par: boolean, kind: string) => {
    const srcs = vm.disks;
    const ex = await Promise.all(
      srcs.map((d, i) => exportImage(join(lab.repository, `bare-${tag}-${i}.qcow2`), 2048 * mib, `d${i}`)),
    );
    await T(`bare ${tag}`, async () => {
      const one = (i: number) =>
        execa('nbdcopy', [
          '--flush',
          '--destination-is-zero',
          '--connections=2',
          '--requests=16',
          '--',
          ...(kind === 'nbdkit' ? ['[', 'nbdkit', '-r', '--exit-with-parent', 'file', srcs[i]!, ']'] : [srcs[i]!]),
          ex[i]!.uri,
        ]);
      if (par) await Promise.all([one(0), one(1)]);
      else {
        await one(0);
        await one(1);
      }
    });
    await Promise.all(ex.map((e) => e.stop()));
    await execa(
      'rm',
      ex.map((e) => e.image),
    );
  };
  const cp = async () => {
    for (const [i, d] of vm.disks.entries()) {
      await execa('cp', ['--sparse=always', d, join(lab.repository, `cp${i}`)]);
      await execa('sync', [join(lab.repository, `cp${i}`)]);
    }
  };
  let last: any;
  for (const r of [1, 2, 3]) {
    await T('cp+fsync', cp);
    await execa('rm', [join(lab.repository, 'cp0'), join(lab.repository, 'cp1')]);
    await bare(`par nbdkit ${r}`, true, 'nbdkit');
    const full = await lab.prepare(vm);
    const rq = lab.request(vm, full, { job_id: `backup-full-${r}` });
    await T(`node full ${r}`, async () => {
      await lab.call('POST', '/backup/start', rq);
      for (;;) {
        const p = await lab.progress(rq.job_id);
        if (p.status !== 'in_progress') {
          console.log(
            p.status,
            p.last_error,
            p.phases.map((x) => `${x.name} ${x.duration_ms}`).join(),
            p.bytes_transferred / mib,
          );
          break;
        }
        await new Promise((f) => setTimeout(f, 15));
      }
    });
    await Promise.all(full.map((f) => f.stop()));
    for (const { backupId, body } of lab.hub.completions)
      if (backupId === rq.job_id) lab.hub.changeIds.set(body.disk_id, body.change_id);
    if (last)
      await execa(
        'rm',
        last.map((e: any) => e.image),
      );
    last = full;
  }
  for (const settled of [true, false, true, false, true]) {
    const ch = [];
    for (const d of vm.disks)
      ch.push(await changeExtents(d, { count: 50, sizeBytes: mib, zeroHalf: true, seed: String(Math.random()) }));
    if (settled) await T('settle', () => lab.tracked(2));
    const inc = await lab.prepare(vm, last);
    const rq = lab.incremental(vm, inc);
    await T(`node incr settled=${settled}`, async () => {
      await lab.call('POST', '/backup/start', rq);
      for (;;) {
        const p = await lab.progress(rq.job_id);
        if (p.status !== 'in_progress') {
          console.log(
            p.status,
            p.last_error,
            p.phases.map((x) => `${x.name} ${x.duration_ms}`).join(),
            p.bytes_transferred / mib,
          );
          break;
        }
        await new Promise((f) => setTimeout(f, 15));
      }
    });
    await Promise.all(inc.map((f) => f.stop()));
    await lab.assertIdentical(vm, inc);
    const list = await Promise.all(
      ch.map(async (c, i) => {
        const f = join(lab.folder, `list${i}`);
        await writeFile(f, c.map((e) => `${e.offset} ${e.length}\n`).join(''));
        return f;
      }),
    );
    const ex = await Promise.all(
      vm.disks.map((d, i) => exportImage(join(lab.repository, `barei-${i}.qcow2`), 2048 * mib, `d${i}`, last[i].image)),
    );
    await T('bare incr', async () => {
      await Promise.all(
        [0, 1].map((i) =>
          execa('nbdcopy', [
            '--flush',
            '-S',
            '0',
            '--destination-is-zero',
            '--connections=2',
            '--requests=16',
            '--',
            '[',
            'nbdkit',
            '-r',
            '--exit-with-parent',
            '--filter=extentlist',
            'file',
            vm.disks[i]!,
            `extentlist=${list[i]}`,
            ']',
            ex[i]!.uri,
          ]),
        ),
      );
    });
    await Promise.all(ex.map((e) => e.stop()));
    await execa(
      'rm',
      ex.map((e) => e.image),
    );
    for (const { backupId, body } of lab.hub.completions)
      if (backupId === rq.job_id) lab.hub.changeIds.set(body.disk_id, body.change_id);
    last = inc;
  }
});
