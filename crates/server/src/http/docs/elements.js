// The elements of the page. Strings of the document become text, never markup.

const $ = (id) => document.getElementById(id);

/** An element with attributes (or listeners, if the value is a function) and content. */
function make(tag, attributes = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") element.addEventListener(name, value);
        else if (value !== false && value !== undefined)
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(
        ...inside.flat().filter((part) => part !== null && part !== undefined && part !== ""),
    );
    return element;
}

/** Text in which parts in backticks become code. */
function prose(text = "") {
    return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

/** A field of an object, with its own fields. */
function field(name, written, required, isAnswer) {
    const schema = read(written);
    const below = schema.items ? read(schema.items) : schema;
    const inner = below.properties || (below.choices || []).some((choice) => choice.properties);
    return make(
        "li",
        {},
        make("code", { class: "name" }, name),
        " ",
        make("span", { class: "kind" }, kind(schema)),
        " ",
        required && !isAnswer ? make("span", { class: "must" }, "required") : "",
        !required && isAnswer ? make("span", { class: "kind" }, "· optional") : "",
        schema.description ? make("p", {}, prose(schema.description)) : "",
        limits(schema).map((limit) => make("p", { class: "limit" }, make("code", {}, limit))),
        inner ? make("details", {}, make("summary", {}, "Fields"), tree(below, isAnswer)) : "",
    );
}

/** The fields of a request body, or of a response. */
function tree(schema, isAnswer) {
    if (schema.choices) {
        return make(
            "ul",
            { class: "fields" },
            schema.choices.map((choice, at) =>
                make(
                    "li",
                    {},
                    make("span", { class: "kind" }, `${at ? "or " : ""}${kind(choice)}`),
                    tree(choice, isAnswer),
                ),
            ),
        );
    }
    const required = new Set(schema.required);
    const fields = Object.entries(schema.properties || {});
    fields.sort(([one], [other]) => required.has(other) - required.has(one));
    return make(
        "ul",
        { class: "fields" },
        fields.map(([name, each]) => field(name, each, required.has(name), isAnswer)),
    );
}
