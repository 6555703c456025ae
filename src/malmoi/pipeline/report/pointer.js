
for (const chart of document.querySelectorAll(".chart")) {
  const plot = chart.querySelector(".plot");
  const curves = JSON.parse(chart.dataset.curves);
  const line = document.createElement("div");
  const tip = document.createElement("div");
  line.className = "pointer";
  tip.className = "tip";
  const hide = () => { line.remove(); tip.remove(); };
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const x = 100 * (event.clientX - box.left) / box.width;
    const nearest = curves.map((curve) =>
      curve.values.reduce((best, value) => Math.abs(value[0] - x) < Math.abs(best[0] - x) ? value : best));
    const texts = [chart.dataset.x + " " + nearest[0][1]];
    curves.forEach((curve, number) => texts.push(curve.name + " " + nearest[number][2]));
    tip.replaceChildren(...texts.map((text) => Object.assign(document.createElement("div"), { textContent: text })));
    line.style.left = nearest[0][0] + "%";
    plot.append(line, tip);
    const left = box.width * nearest[0][0] / 100;
    tip.style.left = Math.max(0, left + 12 + tip.offsetWidth > box.width ? left - 12 - tip.offsetWidth : left + 12) + "px";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
