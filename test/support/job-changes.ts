export type SeenChange = Readonly<{ id: string; type: string; data: Readonly<Record<string, unknown>> }>;

export type JobChanges = AsyncIterable<SeenChange> & Readonly<{ close: () => void }>;

const parse = (frame: string): SeenChange | undefined => {
  const fields = new Map(
    frame.split('\n').map((line) => {
      const colon = line.indexOf(': ');
      return [line.slice(0, colon), line.slice(colon + 2)] as const;
    }),
  );
  const [id, type, data] = [fields.get('id'), fields.get('event'), fields.get('data')];
  return id && type && data ? { id, type, data: JSON.parse(data) as SeenChange['data'] } : undefined;
};

/** Server-sent events of jobs; connected when it resolves, so what happens from now on is seen. */
export const followJobs = async (
  hubUrl: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<JobChanges> => {
  const stop = new AbortController();
  const response = await fetch(`${hubUrl}/api/v1/events/stream`, { headers, signal: stop.signal });
  if (!response.ok || !response.body) throw new Error(`no stream of events: ${response.status}`);
  const text = response.body.pipeThrough(new TextDecoderStream());
  async function* read(): AsyncGenerator<SeenChange> {
    let buffer = '';
    for await (const chunk of text) {
      buffer += chunk;
      const frames = buffer.split('\n\n');
      buffer = frames.pop() ?? '';
      for (const frame of frames) {
        const change = parse(frame);
        if (change) yield change;
      }
    }
  }
  return { [Symbol.asyncIterator]: read, close: () => stop.abort() };
};

/** Until the n-th change of that type; what came before and after it is not looked at. */
export const untilChange = async (changes: JobChanges, type: string, nth = 1): Promise<SeenChange> => {
  let seen = 0;
  for await (const change of changes) {
    if (change.type === type) seen += 1;
    if (seen === nth) return change;
  }
  throw new Error(`the stream ended before ${type}`);
};
