// Posts a message every `data` milliseconds; see ticker.js.

onmessage = (event) => {
  setInterval(() => postMessage(null), event.data);
};
