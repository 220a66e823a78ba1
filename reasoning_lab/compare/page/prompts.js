// The same problems answered by several models, side by side.
function showPrompts() {
  const { tags, writers, problems } = page.prompts;
  const chosen = [...page.prompts.chosen];
  const [strips, view, add, only] = ["strips", "prompt", "add-writer", "disagree"].map((id) =>
    document.getElementById(id));
  let now = 0;

  const tagPattern = new RegExp(`(${tags.join("|")})`);

  // Reasoning and answer as two boxes.
  function boxes(text) {
    let kind = "outside";
    const made = [];
    for (const piece of text.split(tagPattern)) {
      if (tags.includes(piece)) {
        kind = piece.startsWith("</") ? "outside" : piece.slice(1, -1);
      } else if (piece.trim()) {
        const label = kind === "outside" ? [] : [element("span", { kind: "tag", text: kind })];
        const box = element("span", { kind }, label);
        box.append(piece.trim());
        made.push(box);
      }
    }
    return made;
  }

  // As it was written; tags are set apart.
  function asWritten(text) {
    return text.split(tagPattern).map((piece) => (
      tags.includes(piece) ? element("code", { kind: "written", text: piece }) : piece));
  }

  function completion(answer) {
    const parts = answer.well_formed ? boxes(answer.text) : asWritten(answer.text);
    return element("div", { kind: "completion" }, parts);
  }

  function badges(answer) {
    const made = [];
    if (answer.correct !== null) {
      made.push(element("span", answer.correct
        ? { kind: "badge right", text: "✓ right" } : { kind: "badge wrong", text: "✕ wrong" }));
    }
    if (!answer.well_formed) made.push(element("span", { kind: "badge", text: "not well formed" }));
    if (answer.truncated) made.push(element("span", { kind: "badge", text: "cut off" }));
    if (answer.reward !== null) {
      made.push(element("span", { kind: "badge", text: `reward ${answer.reward}` }));
    }
    return made;
  }

  function column(writer) {
    const answer = problems[now].answers[writer];
    const remove = element("button", {
      kind: "chip", text: "✕", title: `hide ${writers[writer]}`,
      on: () => { chosen.splice(chosen.indexOf(writer), 1); draw(); },
    });
    const head = element("h4", { text: `${writers[writer]} ` }, chosen.length > 1 ? [remove] : []);
    if (!answer) {
      return element("article", {}, [head, element("p", { kind: "faint", text: "No answer." })]);
    }
    const about = element("p", {}, badges(answer));
    about.style.margin = "0 0 .5rem";
    return element("article", {}, [head, about, completion(answer)]);
  }

  function verdicts(at) {
    return chosen.map((writer) => problems[at].answers[writer]?.correct);
  }

  function isListed(at) {
    return !only.checked || new Set(verdicts(at)).size > 1;
  }

  function strip(writer) {
    const buttons = problems.flatMap((problem, at) => {
      if (!isListed(at)) return [];
      const correct = problem.answers[writer]?.correct;
      const undecided = correct === null || correct === undefined;
      const [kind, text] = undecided ? ["", "·"] : correct ? ["right", "✓"] : ["wrong", "✕"];
      return [element("button", {
        kind: at === now ? `${kind} now` : kind, text, title: `problem ${at + 1}`,
        on: () => { now = at; draw(); },
      })];
    });
    const name = element("span", { text: writers[writer], title: writers[writer] });
    return element("div", { kind: "strip" }, [name, element("div", {}, buttons)]);
  }

  function draw() {
    const listed = problems.map((_, at) => at).filter(isListed);
    strips.replaceChildren(...chosen.map(strip));
    document.getElementById("place").textContent = listed.length
      ? `Problem ${now + 1} of ${problems.length}` : "They agree on every problem.";
    const problem = problems[now];
    const question = element("div", { kind: "question" }, [
      element("b", { text: problem.domain }), problem.question,
    ]);
    const answer = element("div", { kind: "question" }, [
      element("b", { text: "reference answer" }), problem.answer,
    ]);
    view.replaceChildren(question, answer, element("div", { kind: "answers" }, chosen.map(column)));
    add.replaceChildren(option("", "Add a model or run…"), ...writers.flatMap((name, writer) =>
      (chosen.includes(writer) ? [] : [option(writer, name)])));
    add.hidden = chosen.length === writers.length;
  }

  function step(by) {
    const listed = problems.map((_, at) => at).filter(isListed);
    const next = by > 0 ? listed.find((at) => at > now) : listed.findLast((at) => at < now);
    now = next ?? (by > 0 ? listed[0] : listed.at(-1)) ?? now;
    draw();
  }

  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("following").addEventListener("click", () => step(1));
  add.addEventListener("change", () => { chosen.push(Number(add.value)); draw(); });
  only.addEventListener("change", () => { if (isListed(now)) draw(); else step(1); });
  draw();
}

if (page.prompts) showPrompts();
