// Shows the calls of the OpenAPI document.

const pretty = (value) => JSON.stringify(value, null, 2);
const json = (content) => Object.entries(content || {}).find(([type]) => /json/.test(type));
const isStream = (call) =>
    Object.values(call.said.responses).some(
        (answer) => "text/event-stream" in (resolve(answer).content || {}),
    );

/** All calls of the document; for each path, reads come first. */
function calls() {
    const order = ["get", "post", "put", "patch", "delete"];
    return Object.entries(api.paths).flatMap(([path, operations]) => {
        const methods = order.filter((method) => operations[method]);
        return methods.map((method) => ({
            path,
            method,
            said: operations[method],
            id: operations[method].operationId,
        }));
    });
}

/** The path and query string of a call with these values of its parameters. */
function target(call, values) {
    let path = call.path;
    const query = new URLSearchParams();
    for (const parameter of call.said.parameters || []) {
        const value = values[parameter.name];
        if (parameter.in === "path")
            path = path.replace(`{${parameter.name}}`, encodeURIComponent(value || ""));
        else if (parameter.in === "query" && value) query.append(parameter.name, value);
    }
    return query.size ? `${path}?${query}` : path;
}

/** The call as a curl command. */
function curl(call) {
    const quote = (text) => `'${text.replace(/'/g, "'\\''")}'`;
    const must = (call.said.parameters || []).filter((parameter) => parameter.required);
    const values = Object.fromEntries(
        must.map((parameter) => [parameter.name, String(parameter.example)]),
    );
    const parts = [call.method === "get" ? "curl" : `curl -X ${call.method.toUpperCase()}`];
    if (isStream(call)) parts[0] = "curl -N";
    parts[0] += ` ${quote(location.origin + target(call, values))}`;
    if ((call.said.security || []).length) parts.push(`-H "Authorization: Bearer $TOKEN"`);
    const body = json(call.said.requestBody && call.said.requestBody.content);
    if (body) {
        parts.push("-H 'Content-Type: application/json'");
        parts.push(`-d ${quote(pretty(example(body[1].schema, true)))}`);
    }
    return parts.join(" \\\n  ");
}

/** A block of text with a button that copies it. */
function copied(title, text) {
    const shown = make("pre", { tabindex: "0", "aria-label": title }, text);
    const copy = async (event) => {
        try {
            await navigator.clipboard.writeText(text);
            event.target.textContent = "Copied";
        } catch {
            getSelection().selectAllChildren(shown);
            event.target.textContent = "Selected";
        }
        setTimeout(() => {
            event.target.textContent = "Copy";
        }, 2000);
    };
    const button = make(
        "button",
        { type: "button", "aria-label": `Copy: ${title}`, click: copy },
        "Copy",
    );
    return [make("div", { class: "head" }, make("h4", {}, title), button), shown];
}

/** Which credentials the call needs. */
function login(said) {
    const ways = said.security || [];
    if (!ways.length) return ["No login is needed."];
    const scope = ways.flatMap((way) => way.bearerAuth || [])[0];
    const words = ways.flatMap((way) => {
        if (way.bearerAuth) return ["a token with the scope ", make("code", {}, scope)];
        if (way.csrfToken)
            return [", or the session cookie with ", make("code", {}, "X-CSRFToken")];
        if (way.cookieAuth) return [", or the session cookie"];
        return [", or a user name and password in the body"];
    });
    return ["Needs ", ...words, "."];
}

/** The successful responses, and a table of the errors. */
function answers(call) {
    const done = [];
    const refused = [];
    for (const [status, written] of Object.entries(call.said.responses)) {
        const answer = resolve(written);
        if (status >= 400) {
            for (const { value } of Object.values(
                (json(answer.content) || [])[1]?.examples || {},
            ).map(resolve)) {
                const code = make(
                    "a",
                    { href: `/docs/errors#${value.code}` },
                    make("code", {}, value.code),
                );
                refused.push(
                    make(
                        "tr",
                        {},
                        make("td", {}, status),
                        make("td", {}, code),
                        make("td", {}, prose(value.detail)),
                    ),
                );
            }
            continue;
        }
        const body = json(answer.content);
        const headers = Object.entries(answer.headers || {}).map(([name, header]) => [
            name,
            { schema: {}, ...resolve(header) },
        ]);
        done.push(
            make("h4", {}, `Response ${status}`),
            make("p", {}, prose(answer.description)),
            Object.keys(answer.content || {})
                .filter((type) => !/json/.test(type))
                .map((type) => make("p", {}, make("code", {}, type))),
            body ? tree(read(body[1].schema), true) : "",
            make(
                "details",
                {},
                make("summary", { class: "quiet" }, "Headers"),
                make(
                    "ul",
                    { class: "fields" },
                    headers.map(([name, header]) =>
                        make(
                            "li",
                            {},
                            make("code", { class: "name" }, name),
                            " ",
                            make(
                                "span",
                                { class: "kind" },
                                header.required ? "always" : "sometimes",
                            ),
                            make("p", {}, prose(header.description)),
                        ),
                    ),
                ),
            ),
        );
    }
    const head = make(
        "tr",
        {},
        ["Status", "Code", "Meaning"].map((name) => make("th", { scope: "col" }, name)),
    );
    const errors = make(
        "details",
        { class: "box" },
        make("summary", {}, `Errors (${refused.length})`),
        make("table", {}, head, refused),
    );
    return [...done.flat(), errors];
}

/** A form that sends the request. */
function trial(call) {
    const inputs = new Map();
    const rows = (call.said.parameters || []).map((parameter) => {
        const id = `${call.id}-${parameter.name}`;
        const value = parameter.required ? String(parameter.example) : undefined;
        const input = make("input", {
            id,
            value,
            placeholder: value ? undefined : String(parameter.example ?? ""),
            autocomplete: "off",
        });
        inputs.set(parameter, input);
        return [
            make(
                "label",
                { for: id },
                `${parameter.name}${parameter.required ? "" : " (optional)"}`,
            ),
            input,
        ];
    });
    const written = json(call.said.requestBody && call.said.requestBody.content);
    const body =
        written &&
        make(
            "textarea",
            { id: `${call.id}-body`, spellcheck: "false" },
            pretty(example(written[1].schema, true)),
        );
    if (body) rows.push(make("label", { for: body.id }, "Body"), body);
    const shown = make("pre", {
        tabindex: "0",
        role: "status",
        "aria-label": "Response",
        hidden: true,
    });
    const send = async (event) => {
        event.preventDefault();
        const values = Object.fromEntries(
            [...inputs].map(([parameter, input]) => [parameter.name, input.value]),
        );
        const headers = {};
        for (const [parameter, input] of inputs)
            if (parameter.in === "header" && input.value) headers[parameter.name] = input.value;
        if ($("token").value) headers.Authorization = `Bearer ${$("token").value.trim()}`;
        if (body) headers["Content-Type"] = "application/json";
        shown.hidden = false;
        shown.textContent = "…";
        try {
            const answer = await fetch(target(call, values), {
                method: call.method.toUpperCase(),
                headers,
                body: body ? body.value : undefined,
                credentials: "omit",
                cache: "no-store",
            });
            const text = await answer.text();
            const names = ["location", "etag", "retry-after", "x-request-id"].filter((name) =>
                answer.headers.has(name),
            );
            const lines = [
                `${answer.status} ${answer.statusText}`,
                ...names.map((name) => `${name}: ${answer.headers.get(name)}`),
            ];
            const isJson = /json/.test(answer.headers.get("content-type"));
            shown.textContent = [...lines, "", isJson ? pretty(JSON.parse(text)) : text].join("\n");
        } catch (error) {
            shown.textContent = `The request failed: ${error.message}`;
        }
    };
    const form = make(
        "form",
        { submit: send },
        rows.flat(),
        make("button", { type: "submit" }, `Send ${call.method.toUpperCase()}`),
        shown,
    );
    return make("details", { class: "box" }, make("summary", {}, "Try it"), form);
}

/** The section of one call. */
function section(call) {
    const { said } = call;
    const parameters = said.parameters || [];
    const body = json(said.requestBody && said.requestBody.content);
    const schema = body && read(body[1].schema);
    const answered = Object.entries(said.responses).map(([status, answer]) => [
        status,
        json(resolve(answer).content),
    ]);
    const first = answered.find(([status, content]) => status < 400 && content);
    const left = make(
        "div",
        {},
        said.description ? make("p", {}, prose(said.description)) : "",
        make("p", { class: "quiet" }, login(said)),
        parameters.length ? make("h4", {}, "Parameters") : "",
        parameters.length
            ? make(
                  "ul",
                  { class: "fields" },
                  parameters.map((parameter) => {
                      const schema = {
                          ...resolve(parameter.schema),
                          description: parameter.description,
                      };
                      const item = field(parameter.name, schema, parameter.required);
                      item.querySelector(".kind").prepend(`${parameter.in}, `);
                      return item;
                  }),
              )
            : "",
        body ? make("h4", {}, `Body${said.requestBody.required ? "" : " (optional)"}`) : "",
        schema && schema.description ? make("p", {}, prose(schema.description)) : "",
        schema ? tree(schema) : "",
        answers(call),
    );
    const right = make(
        "div",
        {},
        copied("With curl", curl(call)),
        first ? copied(`Response ${first[0]}`, pretty(example(first[1][1].schema, false))) : "",
        isStream(call) ? "" : trial(call),
    );
    return make(
        "section",
        { class: "call", id: call.id, "aria-label": said.summary },
        make("h3", {}, make("a", { href: `#${call.id}` }, said.summary)),
        make(
            "span",
            { class: "path" },
            make("span", { class: `method ${call.method}` }, call.method),
            " ",
            make("code", {}, call.path),
        ),
        make("div", { class: "parts" }, left, right),
    );
}
