"""The console without a server: lost connections, failed loads and broken responses."""

from playwright.sync_api import Route, expect

from tests.service.console.browser import Console
from tests.service.console.pages import module
from tests.support.serving import KEY


def test_broken_responses(console: Console) -> None:
    """An aborted request stays aborted, a broken body is a lost connection, and a body without JSON is reported."""
    console.open()
    body = """async (m, cause) => {
        const bodies = {
            aborted: async () => { throw new DOMException("", "AbortError"); },
            broken: async () => { throw new TypeError("network error"); },
            markup: async () => "<html>",
        };
        window.fetch = async () => ({ ok: true, status: 200, text: bodies[cause] });
        return m.call("GET", "v1/tasks").then(() => "none", (error) => [error.name, error.status ?? -1]);
    }"""
    outcomes = {"aborted": ["AbortError", -1], "broken": ["Error", 0], "markup": ["Error", 200]}
    assert {cause: module(console, "http", body, cause) for cause in outcomes} == outcomes


def test_a_failure_is_announced_once(console: Console) -> None:
    """While the server is unreachable, the live view announces it once."""
    console.page.clock.install()
    console.page.route("**/metrics", lambda route: route.abort())
    console.open("live")
    alert = console.page.locator("#view").get_by_role("alert")
    expect(alert).to_contain_text("The server cannot be reached")
    alert.evaluate("alert => { alert.dataset.first = 'yes'; }")
    with console.page.expect_event("requestfailed"):
        console.page.clock.fast_forward(20_000)
    console.page.wait_for_timeout(50)
    expect(alert).to_have_attribute("data-first", "yes")
    assert alert.count() == 1
    console.problems.clear()


def test_failed_loads_are_repeated(console: Console) -> None:
    """Tasks that could not be listed are loaded with a later poll, even if the registry has not changed."""
    refusal = {"error": "the database does not answer", "error_type": "registry_unavailable"}
    console.page.route("**/v1/tasks", lambda route: route.fulfill(status=503, json=refusal))
    console.open("tasks", KEY)
    expect(console.page.locator(".list")).to_contain_text("The database does not answer")
    expect(console.page.locator(".publish")).to_contain_text("You cannot publish. The database does not answer.")
    assert console.page.get_by_text("This needs the scope").count() == 0
    console.page.unroute("**/v1/tasks")
    console.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # triggers a poll
    expect(console.page.locator("table.tasks")).to_contain_text("mood")
    expect(console.page.locator(".publish .locked")).to_have_count(0)
    assert all("status of 503" in problem for problem in console.problems)
    console.problems.clear()


def test_a_server_that_does_not_answer(console: Console) -> None:
    """A poll of the server's state times out, and the page shows that the server does not answer."""
    console.page.add_init_script(
        "const all = AbortSignal.timeout; AbortSignal.timeout = (ms) => all.call(AbortSignal, ms / 100);"
    )
    asked: list[Route] = []
    console.page.route("**/health/ready", lambda route: asked.append(route))
    console.open("tasks")
    expect(console.page.locator("#server .state")).to_have_text("no answer")
    assert asked


def test_an_unreachable_server(console: Console) -> None:
    """The page reports an unreachable server and works again when the server is back."""
    console.open("tasks")
    console.page.context.set_offline(True)
    console.go("try")
    console.page.get_by_label("Text", exact=True).last.fill("a good film")
    console.page.get_by_role("button", name="Run").click()
    expect(console.page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    console.page.context.set_offline(False)
    console.page.get_by_role("button", name="Run").click()
    expect(console.page.locator(".result").first).to_be_visible()
    assert all("ERR_INTERNET_DISCONNECTED" in problem for problem in console.problems)
    console.problems.clear()
