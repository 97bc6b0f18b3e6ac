// Ranges: video players that seek in an object of 100 MB. Each reads its beginning,
// its end, and then pieces at random places.
//
// Shows that each part is a 206 with exactly the bytes that were asked for: the object
// has its own offsets for content, and the first line and the length of each part are
// compared. p95 < 500 ms a part.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, contract, large, line, p95, plain } from './lib.js';

export const options = contract(arrivals(20, 100), p95(500));

const seeks = 4;
const piece = 256 * 1024;

// part requests the bytes from first, a multiple of 16, and compares them.
function part(range, first, length) {
  const r = http.get(plain + large.name, { headers: { Range: `bytes=${range}` }, responseType: 'text' });
  check(r, {
    'status 206': (r) => r.status === 206,
    'says which part it is': (r) => r.headers['Content-Range'] === `bytes ${first}-${first + length - 1}/${large.size}`,
    'as long as asked for': (r) => r.body !== null && r.body.length === length,
    'the bytes of this place': (r) => r.body !== null && r.body.startsWith(line(0, first)) && r.body.endsWith(line(0, first + length - 16)),
  });
}

export default function () {
  const edge = 64 * 1024;
  part(`0-${edge - 1}`, 0, edge);
  part(`-${edge}`, large.size - edge, edge);
  for (let i = 0; i < seeks; i++) {
    const first = 16 * Math.floor((Math.random() * (large.size - piece)) / 16);
    part(`${first}-${first + piece - 1}`, first, piece);
  }
}
