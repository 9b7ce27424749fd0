/** For the `skip` of a test: why it cannot run, or false. */
export const notRoot = process.getuid?.() !== 0 && 'only root may mount filesystems';
