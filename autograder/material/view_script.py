"""The script of the attention view: a function of the view's name and its data, in plain JavaScript.

It changes the numbers in an HTML that is complete without it. It is started once by each copy of an output, finds its
own HTML by name or as its neighbour, and asks nothing of the page, of a server or of a library.
"""

SCRIPT = """
function (name, data) {
  const [layers, heads, nq, nk] = data.shape;
  const here = document.currentScript && document.currentScript.previousElementSibling;
  const roots = [...document.querySelectorAll('[data-view="' + name + '"]')];
  if (here && here.dataset && here.dataset.view === name) roots.push(here);
  for (const root of new Set(roots)) {
    if (!root.dataset.live) { root.dataset.live = "yes"; start(root); }
  }

  function start(root) {
    const all = (what) => [...root.querySelectorAll(what)], one = (what) => root.querySelector(what);
    const image = one("img"), bytes = atob(image.src.split(",")[1]);
    const text = new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
    const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
    image.replaceWith(svg);
    const queries = all(".q"), keys = all(".k"), numbers = all(".n");
    const qNames = queries.map((g) => g.dataset.token), kNames = keys.map((g) => g.dataset.token);
    const paths = queries.map((g) => [...g.querySelectorAll("path")]);
    const cells = all("tbody tr").map((row) => [...row.querySelectorAll("td")]);
    const choose = document.createElement("div");
    const [layerChoice, headChoice] = [["layer", layers], ["head", heads]].map(([what, count], n) => {
      const label = choose.appendChild(document.createElement("label"));
      label.append(what);
      const select = label.appendChild(document.createElement("select"));
      select.className = what;
      for (let i = 0; i < count; i++) select.add(new Option(i));
      if (n && count > 1) select.add(new Option("mean of all", "mean"));
      select.selectedIndex = data.at[n];
      return select;
    });
    one(".say").before(choose);
    const title = () => "layer " + layerChoice.value + ", " +
      (headChoice.value === "mean" ? "mean of all heads" : "head " + headChoice.value);

    function weight(i, j) {
      const layer = layerChoice.selectedIndex, mean = headChoice.value === "mean";
      let sum = 0;
      for (let h = mean ? 0 : headChoice.selectedIndex; h < (mean ? heads : headChoice.selectedIndex + 1); h++) {
        sum += data.weights[((layer * heads + h) * nq + i) * nk + j];
      }
      return sum / (mean ? heads : 1) / 1000;
    }

    function most(names, values) {
      const order = values.map((_, n) => n).sort((a, b) => values[b] - values[a] || a - b).slice(0, 3);
      return order.map((n) => names[n] + " " + values[n].toFixed(2)).join(", ");
    }
    const row = (i) => kNames.map((_, j) => weight(i, j)), column = (j) => qNames.map((_, i) => weight(i, j));

    function draw() {
      let largest = 0;
      for (let i = 0; i < nq; i++) {
        const values = row(i), said = qNames[i] + " reads " + most(kNames, values);
        largest += Math.max(...values) / nq;
        queries[i].setAttribute("aria-label", said);
        values.forEach((w, j) => {
          paths[i][j].setAttribute("stroke-width", (6 * w).toFixed(2));
          paths[i][j].setAttribute("stroke-opacity", w.toFixed(3));
          cells[i][j].textContent = w.toFixed(2);
          cells[i][j].style.backgroundColor = "rgba(0,114,178," + (0.7 * w).toFixed(2) + ")";
        });
      }
      keys.forEach((g, j) => g.setAttribute("aria-label", kNames[j] + " is read by " + most(qNames, column(j))));
      svg.setAttribute("aria-label", "attention of " + title() + ": queries on the left, keys on the right");
      one("caption").textContent = "weights of " + title() + ": rows are queries, columns keys";
      one(".say").textContent = title() + ": the largest weight of a row is " + largest.toFixed(2) + " on average";
    }

    function look(group) {
      const asks = group && group.classList.contains("q"), at = group && +(asks ? group.dataset.i : group.dataset.j);
      const values = asks ? row(at) : [];
      svg.classList.toggle("by-key", Boolean(group) && !asks);
      paths.forEach((line) => line.forEach((p, j) => p.classList.toggle("on", Boolean(group) && !asks && j === at)));
      numbers.forEach((text, j) => { text.textContent = asks ? values[j].toFixed(2) : ""; });
      one(".row").textContent = group ? group.getAttribute("aria-label") : one(".row").dataset.idle;
    }

    // JupyterLab's shortcuts look at the focused element itself: without this, D D in the view deletes a cell.
    for (const item of [...queries, ...keys, layerChoice, headChoice]) {
      item.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    for (const side of [queries, keys]) {
      side.forEach((group, n) => {
        group.setAttribute("tabindex", n ? "-1" : "0");
        group.addEventListener("mouseenter", () => look(group));
        group.addEventListener("mouseleave", () => look(root.querySelector("g:focus")));
        group.addEventListener("focus", () => {
          side.forEach((other) => other.setAttribute("tabindex", other === group ? "0" : "-1"));
          look(group);
        });
        group.addEventListener("blur", () => look(null));
        group.addEventListener("keydown", (event) => {
          const next = { ArrowDown: side[n + 1], ArrowUp: side[n - 1], Home: side[0], End: side[side.length - 1],
            ArrowRight: side === queries && keys[Math.min(n, nk - 1)],
            ArrowLeft: side === keys && queries[Math.min(n, nq - 1)] }[event.key];
          if (next) { event.preventDefault(); event.stopPropagation(); next.focus(); }
        });
      });
    }
    for (const choice of [layerChoice, headChoice]) {
      choice.addEventListener("change", () => { draw(); look(root.querySelector("g:focus")); });
    }
    one(".row").dataset.idle = "Hover a token, or go to it with Tab and the arrow keys, to see its row or column.";
    draw();
    look(null);
  }
}
"""
