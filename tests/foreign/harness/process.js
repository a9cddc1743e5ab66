// A program under test: its output is kept, and it does not outlive the tests.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { Record } from './record.js';

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

// How the test runner ends a file that takes too long.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** The path of a built program, named by a variable that `tests/run` sets. */
export function built(variable) {
  const path = process.env[variable];
  if (!path) throw new Error(`set ${variable} to the built program, or call tests/foreign/run, which does`);
  return path;
}

export class Program {
  constructor(name, path, args, env = {}) {
    this.name = name;
    this.log = new Record(name);
    this.child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    running.add(this.child);
    this.ended = once(this.child, 'exit').then(([code, signal]) => {
      running.delete(this.child);
      this.log.add(`ended with ${signal ?? code}`);
      return { code, signal };
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.log.add(line));
    }
  }

  /** The port in the first line that has `before` and then an address of this machine. */
  async port(before) {
    const pattern = new RegExp(`${before}.*127\\.0\\.0\\.1:(\\d+)`);
    return this.log.find('its address', (line) => {
      if (line.startsWith('ended with')) throw new Error(`${this.name} did not start:\n${this.log.tail()}`);
      return pattern.exec(line)?.[1];
    });
  }

  /** Asks it to end, as a service manager does. */
  async stop() {
    this.child.kill('SIGTERM');
    const { code, signal } = await this.ended;
    if (code !== 0) throw new Error(`${this.name} ended with ${signal ?? code}:\n${this.log.tail()}`);
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
