// The page: the list of calls, their sections, and the search.

function show() {
    const { info, tags } = api;
    const all = calls();
    $("version").textContent = info.version;
    const token = make("input", {
        id: "token",
        type: "password",
        autocomplete: "off",
        spellcheck: "false",
        placeholder: "prt_…",
    });
    const hint = "Used by “Try it”. It is kept only until this page is closed or reloaded.";
    const groups = [];
    const list = [];
    for (const tag of tags) {
        const own = all.filter(({ said }) => said.tags.includes(tag.name));
        if (!own.length) continue;
        groups.push(
            make(
                "section",
                { class: "group" },
                make("h2", {}, tag.name),
                make("p", {}, prose(tag.description)),
                own.map(section),
            ),
        );
        list.push(
            make(
                "div",
                {},
                make("h2", {}, tag.name),
                make(
                    "ul",
                    {},
                    own.map((call) =>
                        make(
                            "li",
                            { "data-call": call.id },
                            make(
                                "a",
                                { href: `#${call.id}` },
                                make(
                                    "span",
                                    { class: `method ${call.method}` },
                                    call.method === "delete" ? "del" : call.method,
                                ),
                                make("span", {}, call.said.summary),
                            ),
                        ),
                    ),
                ),
            ),
        );
    }
    $("calls").replaceChildren(...list);
    $("content").replaceChildren(
        make("h1", {}, `${info.title} API`),
        make(
            "div",
            { class: "lead" },
            info.description.split("\n\n").map((text) => make("p", {}, prose(text))),
        ),
        make(
            "div",
            { class: "login" },
            make("label", { for: "token" }, "Token"),
            token,
            make("p", { class: "quiet" }, hint),
        ),
        ...groups,
    );
    filterBy(all);
    follow();
    if (location.hash)
        document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/** Lets the search field filter the calls: those that contain all of its words are shown. */
function filterBy(all) {
    const texts = all.map((call) => [
        call.id,
        [
            call.method,
            call.path,
            call.id,
            call.said.summary,
            call.said.description,
            ...call.said.tags,
        ]
            .join(" ")
            .toLowerCase(),
    ]);
    const input = $("filter");
    input.addEventListener("input", () => {
        const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let count = 0;
        for (const [id, text] of texts) {
            const fits = words.every((word) => text.includes(word));
            count += fits;
            $(id).hidden = !fits;
            document.querySelector(`[data-call="${id}"]`).hidden = !fits;
        }
        for (const group of document.querySelectorAll(".group, #calls > div")) {
            group.hidden = !group.querySelector(".call:not([hidden]), li[data-call]:not([hidden])");
        }
        $("found").textContent = words.length ? `${count} of ${texts.length} calls` : "";
    });
    document.addEventListener("keydown", (event) => {
        const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
        if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            unfold(true);
            input.focus();
        } else if (event.key === "Escape") {
            unfold(false);
        }
    });
}

/** Opens or closes the list of calls, which is folded on small screens. */
function unfold(wanted) {
    $("side").classList.toggle("open", wanted);
    $("menu").setAttribute("aria-expanded", String(wanted));
}

/** Marks in the list the call that is currently in view. */
function follow() {
    const mark = (entries) => {
        const seen = entries.find((entry) => entry.isIntersecting);
        if (!seen) return;
        document.querySelector("#calls [aria-current]")?.removeAttribute("aria-current");
        const link = document.querySelector(`[data-call="${seen.target.id}"] a`);
        link.setAttribute("aria-current", "true");
        link.scrollIntoView({ block: "nearest" });
    };
    const observer = new IntersectionObserver(mark, { rootMargin: "-15% 0px -75% 0px" });
    for (const call of document.querySelectorAll(".call")) observer.observe(call);
}

async function start() {
    $("menu").hidden = false;
    $("menu").addEventListener("click", () => unfold(!$("side").classList.contains("open")));
    $("calls").addEventListener("click", (event) => {
        if (event.target.closest("a")) unfold(false);
    });
    try {
        const answer = await fetch("/openapi.json");
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        api = await answer.json();
        show();
    } catch (error) {
        $("loading")?.replaceChildren(`/openapi.json could not be loaded: ${error.message}`);
        throw error;
    }
}

start();
