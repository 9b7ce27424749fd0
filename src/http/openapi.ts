import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiResponsesObject } from 'zod-openapi';
import { DryRunReply } from './dry-run.ts';
import { errorSchemas } from './error-shapes.ts';
import { statusOf } from './errors.ts';
import type { Endpoint } from './route.ts';

export type OpenApiDocument = ReturnType<typeof createDocument>;

/** OpenAPI 3.1 from the endpoints that serve the requests. The same endpoints give the same text, whatever their order. */
export const renderOpenApi = (endpoints: readonly Endpoint[], version: string): OpenApiDocument => {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const endpoint of [...endpoints].sort(byPathAndMethod)) {
    const path = bracedPath(endpoint.path);
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operationOf(endpoint) };
  }
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Sendense Hub',
      version,
      description:
        'Backs up virtual machines and restores them. Unknown keys in requests are ignored; times are RFC 3339.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: [...new Set(endpoints.map(({ tag }) => tag))].sort().map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: 'From POST /api/v1/auth/login' } },
    },
  });
};

const byPathAndMethod = (a: Endpoint, b: Endpoint): number => compare(`${a.path} ${a.method}`, `${b.path} ${b.method}`);

/** By code units: the same on every machine, unlike a locale's order. */
const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

const operationOf = (endpoint: Endpoint): ZodOpenApiOperationObject => {
  const { method, path, tag, summary, description, access, body } = endpoint;
  const query = queryOf(endpoint);
  return {
    operationId: operationIdOf(method, path),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(access),
    requestParams: {
      path: endpoint.params ?? z.object(Object.fromEntries(paramNames(path).map((name) => [name, z.string()]))),
      ...(query ? { query } : {}),
      ...(method === 'GET' ? {} : { header: IdempotencyHeader }),
    },
    ...(body ? { requestBody: { content: { 'application/json': { schema: body } } } } : {}),
    responses: responsesOf(endpoint),
  };
};

const DryRunQuery = z.object({
  dry_run: z.enum(['true', 'false']).optional().meta({
    description: 'true: tells what the command would append and what would follow, and changes nothing',
  }),
});

const queryOf = ({ query, dryRun }: Endpoint): z.ZodObject | undefined => {
  if (!dryRun) return query;
  return query ? query.extend(DryRunQuery.shape) : DryRunQuery;
};

const IdempotencyHeader = z.object({
  'Idempotency-Key': z.string().min(1).max(255).optional().meta({
    description: 'A request that is repeated with the same key does nothing twice',
  }),
});

/** The empty requirement beside the token says that the token may be left out. */
const securityOf = (access: Endpoint['access']): Record<string, string[]>[] => {
  if (access === 'public') return [];
  return access === 'loopback-callback' ? [{ bearer: [] }, {}] : [{ bearer: [] }];
};

const responsesOf = (endpoint: Endpoint): ZodOpenApiResponsesObject => {
  const refused = [...refusals(endpoint)].map(([status, codes]) => {
    const description = [STATUS_CODES[status], codes.join(', ')].filter(Boolean).join(': ');
    const group = status === 401 && endpoint.group === 'E2' ? 'E1' : endpoint.group;
    return [`${status}`, { description, content: { 'application/json': { schema: errorSchemas[group] } } }] as const;
  });
  const answered = Object.entries(endpoint.replies).map(([status, schema]) => {
    const content = contentOf(endpoint, Number(status), schema);
    return [status, { description: STATUS_CODES[status] ?? status, content }] as const;
  });
  const dry = endpoint.dryRun && !(200 in endpoint.replies);
  const dryAnswer = { description: 'A dry run', content: { 'application/json': { schema: DryRunReply } } };
  return Object.fromEntries([...refused, ...answered, ...(dry ? [['200', dryAnswer] as const] : [])]);
};

/** A dry run is answered with 200, and so are other forms of a reply. */
const contentOf = ({ forms, dryRun }: Endpoint, status: number, schema: z.ZodType | string) => {
  if (typeof schema === 'string') return { [schema]: { schema: z.string() } };
  const json = status === 200 && dryRun ? z.union([schema, DryRunReply]) : schema;
  const others = status === 200 ? forms : [];
  return {
    'application/json': { schema: json },
    ...Object.fromEntries(others.map((form) => [form, { schema: z.string() }])),
  };
};

/** What it may refuse with, by status; what every endpoint may answer need not be declared. */
const refusals = ({ errors, statuses, access, query, params, body }: Endpoint): Map<number, readonly string[]> => {
  const byStatus = new Map<number, readonly string[]>([[500, []]]);
  if (query ?? params ?? body) byStatus.set(400, ['invalid-request']);
  if (access !== 'public') byStatus.set(401, []);
  for (const code of errors) {
    const status = statusOf(code, statuses);
    byStatus.set(status, [...new Set([...(byStatus.get(status) ?? []), code])]);
  }
  return byStatus;
};

const bracedPath = (path: string): string => path.replace(/:(\w+)/g, '{$1}');

const paramNames = (path: string): readonly string[] => [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => name);

/** `GET /api/v1/backups/:backup_id/disks` to `getBackupsByBackupIdDisks`: names for generated clients, unique like the routes. */
const operationIdOf = (method: string, path: string): string => {
  const words = path
    .replace('/api/v1', '')
    .replace(/:/g, 'by_')
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '');
  return [method.toLowerCase(), ...words.map((word) => word[0]?.toUpperCase() + word.slice(1))].join('');
};
