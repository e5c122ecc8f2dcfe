// A steady tick, also in a background tab, where a page's own timers are slowed down to one a
// minute: it comes from a worker. Where workers are refused, an interval does.

export function workerTicker(ms, onTick) {
  let worker;
  try {
    worker = new Worker(new URL('./ticker-worker.js', import.meta.url));
  } catch {
    const timer = setInterval(onTick, ms);
    return () => clearInterval(timer);
  }
  worker.onmessage = onTick;
  worker.postMessage(ms);
  return () => worker.terminate();
}
