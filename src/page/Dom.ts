/**
 * Makes and changes elements. Whatever is shown is set as text, never as markup, since names come from clients.
 */

export const byId = <E extends HTMLElement>(id: string, kind: new () => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`)
  return found
}

export type Child = string | Node

export const element = <K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string>>,
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[K] => {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

export const svg = (
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: ReadonlyArray<Node>
): SVGElement => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  made.append(...children)
  return made
}

/** Sets the text where it is another, so that nobody who reads along is told of what stayed. */
export const setText = (node: Node, text: string) => {
  if (node.textContent !== text) node.textContent = text
}

/** A list of names and figures, whose elements stay where they are. */
export const figures = (list: HTMLElement, values: ReadonlyArray<readonly [name: string, value: string]>) => {
  for (const [name, value] of values) {
    const key = name.replaceAll(" ", "-")
    let dd = list.querySelector(`[data-key="${key}"]`)
    if (dd === null) {
      dd = element("dd", { "data-key": key })
      list.append(element("div", {}, element("dt", {}, name), dd))
    }
    setText(dd, value)
  }
}

/** Gives a table its caption and heads. */
export const head = (table: HTMLTableElement, caption: string, names: ReadonlyArray<string>) => {
  table.replaceChildren(
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}),
  )
}

const bodyOf = (table: HTMLTableElement): HTMLTableSectionElement => table.tBodies[0] ?? table.createTBody()

/** Shows rows of texts, in as many elements as are there, so that scrolling and reading go on. */
export const rows = (table: HTMLTableElement, all: ReadonlyArray<ReadonlyArray<string>>) => {
  const body = bodyOf(table)
  while (body.rows.length > all.length) body.deleteRow(-1)
  all.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow()
    cells.forEach((cell, column) => setText(row.cells[column] ?? row.insertCell(), cell))
  })
}

/** Puts a row above all others, and drops what is more than `most`. */
export const prepend = (table: HTMLTableElement, cells: ReadonlyArray<Child>, most: number) => {
  const body = bodyOf(table)
  const row = body.insertRow(0)
  for (const cell of cells) row.insertCell().append(cell)
  if (body.rows.length > most) body.deleteRow(-1)
  return row
}

export const clear = (table: HTMLTableElement) => bodyOf(table).replaceChildren()
