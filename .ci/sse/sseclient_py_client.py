import requests
import sseclient
from common import HEADERS, SILENCE, URL, pause, take

last = "0"
while True:
    try:
        headers = {**HEADERS, "Last-Event-ID": last}
        response = requests.get(URL, headers=headers, stream=True, timeout=SILENCE)
        if response.status_code < 500:
            response.raise_for_status()
            for event in sseclient.SSEClient(response).events():
                take(event.event, event.data)
                last = event.id or last
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        pass
    pause()
