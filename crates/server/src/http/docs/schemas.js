// Describes the schemas of the OpenAPI document in words and by examples.

/** The OpenAPI document. */
let api = null;

/** Follows references. Members beside a `$ref` override those of its target. */
function resolve(value) {
    if (!value || !value.$ref) return value || {};
    const steps = value.$ref
        .slice(2)
        .split("/")
        .map((step) => step.replace(/~1/g, "/").replace(/~0/g, "~"));
    const { $ref, ...beside } = value;
    return { ...resolve(steps.reduce((place, step) => place[step], api)), ...beside };
}

/** The pairs of fields that exclude each other: each is an `if`, whose branches have the next. */
function pairsOf({ if: condition, then, else: otherwise }) {
    if (!condition) return [];
    const pair = [condition.required, (otherwise || {}).required].flat();
    return [...(condition.required ? [pair] : []), ...pairsOf(otherwise || then)];
}

/** A schema with its reference followed: types, properties and choices. */
function read(written) {
    const schema = { ...resolve(written) };
    const choices = (schema.oneOf || []).filter((choice) => choice.type !== "null");
    schema.nullable = choices.length < (schema.oneOf || []).length;
    if (choices.length === 1) {
        const description = schema.description || resolve(choices[0]).description;
        Object.assign(schema, { ...read(choices[0]), nullable: schema.nullable, description });
    } else if (choices.length) schema.choices = choices.map(read);
    const types = [schema.type || []].flat();
    schema.types = types.filter((type) => type !== "null");
    schema.nullable = schema.nullable || schema.types.length < types.length;
    return schema;
}

/** The type of a value in a few words. */
function kind(schema) {
    let words =
        schema.types.join(" or ") ||
        (schema.choices ? schema.choices.map(kind).join(" or ") : "any value");
    if (schema.items) words = `list of ${kind(read(schema.items))}`;
    if (schema.format && !["int64", "int32"].includes(schema.format))
        words += ` (${schema.format})`;
    return schema.nullable ? `${words} or null` : words;
}

/** The limits of a value, in words. */
function limits(schema) {
    const found = [];
    const range = (least, most, unit) => {
        if (least !== undefined && most !== undefined) found.push(`${least} to ${most}${unit}`);
        else if (least !== undefined) found.push(`at least ${least}${unit}`);
        else if (most !== undefined) found.push(`at most ${most}${unit}`);
    };
    const most = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum;
    range(schema.minimum, most, "");
    range(schema.minLength, schema.maxLength, " characters");
    range(schema.minItems, schema.maxItems, " items");
    const values = schema.enum || (schema.items && read(schema.items).enum);
    if (values)
        found.push(
            values
                .filter((value) => value !== null)
                .map(String)
                .join(", "),
        );
    if (schema.pattern) found.push(schema.pattern);
    if (schema.default !== undefined) found.push(`${JSON.stringify(schema.default)} by default`);
    return found;
}

/** An example of a value. In a request it has the required fields and those with an example. */
function example(written, isRequest) {
    const schema = read(written);
    if (schema.example !== undefined) return schema.example;
    if (schema.examples) return schema.examples[0];
    if (schema.properties) {
        // Of two fields that exclude each other, only the first.
        const first = pairsOf(schema).map((pair) => pair[0]);
        const others = pairsOf(schema).map((pair) => pair[1]);
        const tied = Object.entries(schema.dependentRequired || {}).filter(([, needs]) =>
            needs.some((name) => others.includes(name)),
        );
        const left = new Set([...others, ...tied.map(([name]) => name)]);
        const must = new Set([...(schema.required || []), ...first]);
        const fields = Object.entries(schema.properties).filter(([name, each]) => {
            const { example, examples } = resolve(each);
            return (
                must.has(name) ||
                (!left.has(name) && (!isRequest || example !== undefined || examples))
            );
        });
        return Object.fromEntries(fields.map(([name, each]) => [name, example(each, isRequest)]));
    }
    if (schema.nullable && !isRequest) return null;
    if (schema.default !== undefined) return schema.default;
    if (schema.enum) return schema.enum[0];
    if (schema.items)
        return schema.minItems === 0 || schema.items ? [example(schema.items, isRequest)] : [];
    if (schema.choices) return example(schema.choices[0], isRequest);
    if (schema.format === "date-time") return "2026-11-22T20:16:23Z";
    if (schema.format === "email") return "dana@example.org";
    const usual = { integer: 7, number: 7, boolean: false, object: {}, array: [], string: "text" };
    return usual[schema.types[0]] ?? null;
}
