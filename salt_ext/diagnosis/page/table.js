"use strict";
(() => {
  const STEP = 100;
  const data = JSON.parse(document.getElementById("token-data").textContent);
  const body = document.querySelector("#token-table tbody");
  const found = document.getElementById("token-found");
  const more = document.getElementById("token-more");
  const search = document.getElementById("token-search");
  const how = document.getElementById("token-how");
  let order = { column: 0, down: false };
  let chosen = data.rows;
  let shown = STEP;

  // A row: id, token, how, norm, sources, l1, residual, count, [place in names, weight, ...]
  const sourcesOf = (row) => {
    const list = [];
    for (let i = 0; i < row[8].length; i += 2) list.push([data.names[row[8][i]], row[8][i + 1]]);
    return list;
  };
  const searched = data.rows.map((row) =>
    [row[1].replaceAll("␣", " "), row[1], ...sourcesOf(row).map((each) => each[0])].join("\n").toLowerCase());
  const place = new Map(data.rows.map((row, number) => [row, number]));

  const cell = (line, text, number) => {
    const td = line.insertCell();
    td.textContent = text === null ? "" : text;
    if (number) td.className = "n";
    return td;
  };
  const token = (parent, text) => {
    const code = document.createElement("code");
    code.className = "tok";
    code.textContent = text;
    parent.append(code);
  };

  const draw = () => {
    body.replaceChildren();
    for (const row of chosen.slice(0, shown)) {
      const line = body.insertRow();
      cell(line, row[0], true);
      token(cell(line, ""), row[1]);
      cell(line, row[2]);
      cell(line, row[3].toFixed(2), true);
      cell(line, row[4] || "", true);
      cell(line, row[4] ? row[5].toFixed(2) : "", true);
      cell(line, row[6] === null ? "" : row[6].toFixed(2), true);
      cell(line, row[7], true);
      const sources = cell(line, "");
      sourcesOf(row).forEach((each, number) => {
        sources.append(number ? ", " : "", (each[1] < 0 ? "−" : "") + Math.abs(each[1]).toFixed(2) + " ");
        token(sources, each[0]);
      });
      if (row[4] > row[8].length / 2) sources.append(` and ${row[4] - row[8].length / 2} more`);
    }
    found.textContent = `${chosen.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} tokens`;
    more.hidden = chosen.length <= shown;
  };

  const choose = () => {
    const wanted = search.value.toLowerCase();
    const id = /^#(\d+)$/.exec(wanted.trim());
    chosen = data.rows.filter((row) =>
      (!how.value || row[2] === how.value) &&
      (!wanted || (id ? row[0] === Number(id[1]) : searched[place.get(row)].includes(wanted))));
    const { column, down } = order;
    const value = (row) => row[column] ?? -Infinity;
    chosen.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const by = typeof x === "string" ? x.localeCompare(y) : x - y;
      return (down ? -by : by) || a[0] - b[0];
    });
    shown = STEP;
    draw();
  };

  document.querySelectorAll("#token-table th button").forEach((button) => {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column);
      order = { column, down: order.column === column ? !order.down : column > 2 };
      document.querySelectorAll("#token-table th").forEach((th) => th.removeAttribute("aria-sort"));
      button.parentElement.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      choose();
    });
  });
  more.addEventListener("click", () => { shown += STEP * 5; draw(); });
  for (const control of [search, how]) control.addEventListener("input", choose);
  // A link to a token: page.html#token=Haus
  const linked = /^#token=(.*)$/.exec(location.hash);
  if (linked) search.value = decodeURIComponent(linked[1]);
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  choose();
  document.documentElement.dataset.ready = "yes";
})();
