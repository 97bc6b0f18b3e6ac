// Faults: the runner ends the S3 server and starts it again, then halts it so that it
// takes connections and says nothing, again and again.
//
// Shows that cached objects are answered all the while, fresh ones from memory with
// p99 < 500 ms, old ones with what is kept for this case; that others get the object
// or an error that says whose fault it is, 502, 503 or 504; and that nothing hangs
// longer than the timeouts of run.yaml allow: two tries of 2 s and what is between.

import http from 'k6/http';
import { check } from 'k6';
import { arrivals, cached, contract, plain, smallNames, stale, warm, zipf } from './lib.js';

export const options = contract(arrivals(300, 1000), {
  'http_req_duration{bucket:cached}': ['p(99)<500'],
  'http_req_duration{scenario:main}': ['max<8000'],
});

const params = (bucket, ...statuses) => ({ tags: { bucket }, timeout: '20s', responseCallback: http.expectedStatuses(...statuses) });
const ofCached = params('cached', 200);
const ofStale = params('stale', 200);
const ofPlain = params('plain', 200, 502, 503, 504);

export function setup() {
  warm(smallNames.map((name) => cached + name));
  warm(smallNames.map((name) => stale + name));
}

export default function () {
  const name = smallNames[zipf(smallNames.length)];
  const dice = Math.random();
  if (dice < 0.5) check(http.get(cached + name, ofCached), { 'fresh: from memory': (r) => r.status === 200 && r.headers['X-Cache'] === 'HIT' });
  else if (dice < 0.75) check(http.get(stale + name, ofStale), { 'old: 200': (r) => r.status === 200 });
  else check(http.get(plain + name, ofPlain), { 'not cached: the object, 502, 503 or 504': (r) => [200, 502, 503, 504].includes(r.status) });
}
