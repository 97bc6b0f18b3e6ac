// What the scripts share: settings, names of objects, options, checks.
//
// Settings come from the environment, and loadtest/run sets them: BASE (the gateway's
// URL), DURATION, RATE (arrivals a second, or connections), TOKEN (of the private
// bucket). By hand: bin/k6 run -e BASE=http://127.0.0.1:8080 loadtest/k6/hits.js

import http from 'k6/http';
import { fail } from 'k6';

export const base = __ENV.BASE || 'http://127.0.0.1:8080';
export const token = __ENV.TOKEN || '';
export const duration = __ENV.DURATION || '30s';

// rate returns RATE, or preset without one.
export function rate(preset) {
  return Number(__ENV.RATE) || preset;
}

// The buckets, by their path prefixes; all hold the same objects.
export const cached = `${base}/cached/`; // in memory for an hour
export const stale = `${base}/stale/`; // fresh for a second, then kept for when S3 fails
export const plain = `${base}/plain/`; // no cache: each request is signed and goes to S3
export const secret = `${base}/private/`; // in memory, for those with a token

// The objects 1k, 10k, 100k, 1m and 100m, and o/0 to o/999 of the sizes in sizeOf.
// Each has a line of 16 bytes for each 16 bytes: its number and the line's offset in
// hexadecimal, see loadtest/run/objects.go.
export const KB = 1000;
export const MB = 1000 * KB;
export const objects = 1000;
export const large = { name: '100m', size: 100 * MB };

// sizeOf returns the size of object o/i: 5 % have 1 MB, 20 % 100 KB, 30 % 10 KB, 45 %
// 1 KB.
export function sizeOf(i) {
  const k = i % 20;
  if (k === 19) return MB;
  if (k >= 15) return 100 * KB;
  return k >= 9 ? 10 * KB : KB;
}

// line returns the line that object number has at offset, a multiple of 16.
export function line(number, offset) {
  const hex = (n) => n.toString(16).padStart(7, '0');
  return `${hex(number)}:${hex(offset)}\n`;
}

// zipf returns a number below n; k is about 1/(k+1) as likely as 0, Zipf's law with
// exponent 1. The inverse of the distribution needs no table in each VU.
export function zipf(n) {
  return Math.floor(Math.pow(n + 1, Math.random())) - 1;
}

// smallNames are the objects of 1 KB and 10 KB among the first hundred.
export const smallNames = [...Array(100).keys()].filter((i) => sizeOf(i) <= 10 * KB).map((i) => `o/${i}`);

// arrivals is a scenario in which perSecond iterations begin each second, however long
// the earlier ones take, as long as one of vus is free; else the iteration is dropped,
// and counted in dropped_iterations.
export function arrivals(perSecond, vus) {
  return { executor: 'constant-arrival-rate', rate: rate(perSecond), timeUnit: '1s', duration, preAllocatedVUs: vus, maxVUs: vus, gracefulStop: '15s' };
}

// contract returns the options of a script with one scenario. Thresholds are about its
// requests alone, not about those of setup. In every script no request may fail, which
// is to have another status than those that it expects, and no check.
export function contract(scenario, thresholds) {
  return {
    scenarios: { main: scenario },
    // A list without thresholds makes k6 sum the latency up for the scenario alone.
    thresholds: Object.assign({ 'http_req_failed{scenario:main}': ['rate==0'], checks: ['rate==1'], 'http_req_duration{scenario:main}': [] }, thresholds),
    // Fewer tags are less work for k6; no address in them keeps their number small.
    systemTags: ['scenario', 'status', 'error_code'],
    summaryTrendStats: ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max', 'count'],
    discardResponseBodies: true,
    noUsageReport: true,
    userAgent: 'k6',
  };
}

// p95 is the threshold of the scenario's latency in milliseconds.
export function p95(milliseconds) {
  return { 'http_req_duration{scenario:main}': [`p(95)<${milliseconds}`] };
}

// warm requests each of urls until it is a hit, so that what follows is measured with a
// full cache.
export function warm(urls, params) {
  for (const url of urls) {
    for (let tries = 0; ; tries++) {
      const r = http.get(url, params);
      if (r.status !== 200) fail(`${url}: status ${r.status} ${r.error}`);
      if (r.headers['X-Cache'] === 'HIT') break;
      if (tries === 10) fail(`${url}: not in the cache after ${tries} requests: ${r.headers['X-Cache']}`);
    }
  }
}

// pick returns one of list.
export function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}

// has says whether the answer is whole by its head: k6 itself fails a body that is
// shorter than its Content-Length.
export function has(r, status, size) {
  return r.status === status && r.headers['Content-Length'] === String(size);
}
