import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RequestHandler, Router } from 'express';

/** The API's description and a page to browse and try it, from the hub alone: no other host, no inline script. */
export const apiDocsPages = (describe: () => Promise<object>): Router => {
  // Made when somebody asks: a hub that nobody asks keeps neither the text nor what it takes to make it.
  let json: string | undefined;
  const router = Router({ strict: true });
  router.get('/swagger', toIndex).get('/swagger/', toIndex);
  router.get('/swagger/doc.json', async (request, response, next) => {
    json ??= JSON.stringify(await describe());
    text('application/json', json)(request, response, next);
  });
  router.get('/swagger/index.html', text('text/html', page));
  router.get('/swagger/start.js', text('text/javascript', startScript));
  for (const asset of assets) router.get(`/swagger/${asset}`, packageFile(asset));
  return router;
};

const toIndex: RequestHandler = (_request, response) => response.redirect('/swagger/index.html');

const assets = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];

const assetFolder = dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json')));

const packageFile =
  (name: string): RequestHandler =>
  (_request, response, next) =>
    response.sendFile(name, { root: assetFolder, maxAge: '1h' }, next);

const text =
  (contentType: string, content: string): RequestHandler =>
  (_request, response) =>
    response.type(contentType).set('cache-control', 'no-cache').send(content);

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Sendense Hub API</title>
    <link rel="icon" type="image/png" href="favicon-32x32.png">
    <link rel="stylesheet" href="swagger-ui.css">
  </head>
  <body>
    <div id="api"></div>
    <script src="swagger-ui-bundle.js"></script>
    <script src="start.js"></script>
  </body>
</html>
`;

const startScript = `SwaggerUIBundle({
  url: 'doc.json',
  dom_id: '#api',
  deepLinking: true,
  persistAuthorization: false,
  displayRequestDuration: true,
  validatorUrl: null,
});
`;
