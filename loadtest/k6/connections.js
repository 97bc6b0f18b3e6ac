// Connections: clients with a connection each, up to 5,000 (RATE), that ask for a small
// object every five seconds.
//
// Shows that connections cost little: the report has the gateway's memory and
// descriptors over their number. The ramp takes half of the time. p95 < 100 ms.

import http from 'k6/http';
import { check, sleep } from 'k6';
import { cached, contract, duration, p95, rate, warm } from './lib.js';

const clients = rate(5000);

// half returns half of a duration such as 1m30s, in seconds.
function half(text) {
  const seconds = { ms: 0.001, s: 1, m: 60, h: 3600 };
  let sum = 0;
  for (const [, n, unit] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) sum += Number(n) * seconds[unit];
  return `${Math.ceil(sum / 2)}s`;
}

export const options = contract(
  {
    executor: 'ramping-vus',
    startVUs: 0,
    stages: [
      { duration: half(duration), target: clients },
      { duration: half(duration), target: clients },
    ],
    gracefulStop: '15s',
    gracefulRampDown: '15s',
  },
  Object.assign({ vus_max: [`value>=${clients}`] }, p95(100)),
);

export function setup() {
  warm([`${cached}1k`]);
}

const checks = { 'answered from memory': (r) => r.headers['X-Cache'] === 'HIT' };

export default function () {
  check(http.get(`${cached}1k`), checks);
  sleep(2.5 + 5 * Math.random());
}
