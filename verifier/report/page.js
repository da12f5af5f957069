// Reads values off the time lines: a cross-hair under the pointer, or moved by
// the arrow keys while a time line has the focus. The page is whole without it.
"use strict";
(() => {
  const grouped = n => Math.round(n).toLocaleString("en-US");
  const digits = v => v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
  const latency = us => us < 0 ? "–" : us < 1e3 ? digits(us) + " µs" : us < 1e6 ? digits(us / 1e3) + " ms" : digits(us / 1e6) + " s";
  const when = s => {
    const n = Math.round(Math.abs(s)), sign = s < 0 && n ? "−" : "+", two = x => String(x).padStart(2, "0");
    if (n < 120) return sign + n + " s";
    if (n < 3600) return sign + Math.floor(n / 60) + ":" + two(n % 60);
    return sign + Math.floor(n / 3600) + ":" + two(Math.floor(n / 60) % 60) + ":" + two(n % 60);
  };

  // values returns what the legends show at bucket i.
  const values = (d, i) => {
    const out = {}, at = (i + 0.5) * d.width, r = (d.rate || [])[i], l = (d.lat || [])[i];
    if (r) {
      const sum = r[0] + r[1] + r[2];
      ["accepted", "refused", "unknown"].forEach((k, j) => { out[k] = grouped(r[j] / d.width) + "/s"; });
      out.errors = sum ? +((sum - r[0]) / sum * 100).toFixed(1) + " %" : "–";
    }
    if (l) { out.p50 = latency(l[0]); out.p99 = latency(l[1]); }
    let near = null;
    for (const p of d.backlog || []) if (!near || Math.abs(p[0] - at) < Math.abs(near[0] - at)) near = p;
    if (near && Math.abs(near[0] - at) <= Math.max(5, d.width)) out.backlog = grouped(near[1]);
    return out;
  };

  for (const fig of document.querySelectorAll("figure.tl")) {
    const d = JSON.parse(fig.querySelector("script").textContent);
    if (!d.width || !d.rate) continue;
    const plots = [...fig.querySelectorAll(".plot")], live = fig.querySelector(".live"), last = d.rate.length - 1;
    const outs = [...fig.querySelectorAll("output")].map(el => ({ el, key: el.dataset.key, rest: el.textContent }));
    const caption = fig.querySelector("figcaption"), rest = caption.textContent;
    let here = -1;

    const show = (i, speak) => {
      here = Math.max(0, Math.min(last, i));
      const v = values(d, here), at = here * d.width;
      for (const o of outs) o.el.textContent = v[o.key] ?? "–";
      const left = ((here + 0.5) * d.width - d.from) / (d.to - d.from) * 100;
      for (const p of plots) { const c = p.querySelector(".cross"); c.hidden = false; c.style.left = left + "%"; }
      caption.textContent = "At " + when(at) + (d.width > 1 ? " to " + when(at + d.width) : "") + " after the start of the load.";
      if (speak) live.textContent = when(at) + ": " + Object.entries(v).map(([k, x]) => k + " " + x).join(", ");
    };
    const clear = () => {
      here = -1;
      for (const o of outs) o.el.textContent = o.rest;
      for (const p of plots) p.querySelector(".cross").hidden = true;
      caption.textContent = rest;
    };
    const point = e => {
      const box = plots[0].getBoundingClientRect();
      const s = d.from + (e.clientX - box.left) / box.width * (d.to - d.from);
      if (s < 0 || s > (last + 1) * d.width) clear(); else show(Math.floor(s / d.width), false);
    };
    for (const p of plots) {
      p.addEventListener("pointermove", point);
      p.addEventListener("pointerdown", point);
      p.addEventListener("pointerleave", clear);
    }
    fig.addEventListener("blur", clear);
    fig.addEventListener("keydown", e => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[e.key];
      if (step) show(here < 0 ? (step > 0 ? 0 : last) : here + step, true);
      else if (e.key === "Home") show(0, true);
      else if (e.key === "End") show(last, true);
      else if (e.key === "Escape") clear();
      else return;
      e.preventDefault();
    });
  }

  // Paper cannot be clicked.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(x => { x.open = true; }));
})();
