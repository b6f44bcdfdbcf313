"""What the tests of the example apps share: headless Chromium, processes, and waiting."""

import contextlib
import subprocess
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


@contextlib.contextmanager
def browser():
    """A headless Chromium with a profile of its own, driven by Debian's chromedriver."""
    options = webdriver.ChromeOptions()
    # In a container there is nothing to build a sandbox of, and little of /dev/shm.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def until(what, condition, seconds=30):
    """Waits until the condition gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    error = None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Exception as problem:  # A page that is being loaded has none of its elements.
            error = problem
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} seconds: {what}") from error


def complaints(driver):
    """Errors of the pages' scripts, and what their policy forbids. That a request fails is no complaint."""
    lines = (line["message"] for line in driver.get_log("browser"))
    return [line for line in lines if "Failed to load resource" not in line]


class Process:
    """A program that is ended with the block, and by nobody else."""

    def __init__(self, command, log, environment, folder=None):
        self.command, self.log, self.environment, self.folder = command, log, environment, folder
        self.child = None

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment, cwd=self.folder
            )
        return self

    def __exit__(self, *_error):
        self.child.terminate()
        self.child.wait(20)


def wait_for(url):
    """Waits until something answers there."""

    def answers():
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200

    until(f"{url} answers", answers)
