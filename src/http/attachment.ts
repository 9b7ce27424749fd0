/** By the ending of the name, in lower case. */
const contentTypes: Readonly<Record<string, string>> = {
  txt: 'text/plain',
  html: 'text/html',
  css: 'text/css',
  js: 'application/javascript',
  json: 'application/json',
  xml: 'application/xml',
  pdf: 'application/pdf',
  zip: 'application/zip',
  tar: 'application/x-tar',
  gz: 'application/gzip',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  png: 'image/png',
  gif: 'image/gif',
  svg: 'image/svg+xml',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  avi: 'video/x-msvideo',
  mov: 'video/quicktime',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  xls: 'application/vnd.ms-excel',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  ppt: 'application/vnd.ms-powerpoint',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
};

export const contentTypeOf = (name: string): string => {
  const ending = name.slice(name.lastIndexOf('.') + 1).toLowerCase();
  return Object.hasOwn(contentTypes, ending) ? (contentTypes[ending] ?? '') : 'application/octet-stream';
};

/** RFC 8187: what may stand in an extended value as it is. */
const plainCharacters = /[^A-Za-z0-9!#$&+.^_`|~-]/gu;

const percentEncoded = (character: string): string =>
  [...new TextEncoder().encode(character)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');

/** Bytes that are not UTF-8 and control characters are in no name that a client could make a file of. */
const savable = (name: string): string => name.toWellFormed().replace(/[\p{Cc}\uef80-\uefff]/gu, '_');

/**
 * Makes a client save what it gets and not show it, whatever it is: pages and images of a backup would run as the hub's own.
 * RFC 6266, appendix D: old clients get something near the name, in ASCII and without what they would have to unescape.
 */
export const attachmentHeaders = (name: string, contentType: string): Readonly<Record<string, string>> => {
  const shown = savable(name);
  const near = shown.replace(/[^\x20-\x7e]/gu, '_').replace(/["\\%]/g, '_');
  const exact = shown.replace(plainCharacters, percentEncoded);
  return {
    'content-type': contentType,
    'content-disposition': `attachment; filename="${near}"; filename*=UTF-8''${exact}`,
    'x-content-type-options': 'nosniff',
  };
};
