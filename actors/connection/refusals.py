"""What the gateway's error codes mean, and what to do about them. One table an endpoint, because the codes differ.

Source: the swagger of the ProjectX Gateway API (`LoginErrorCode`, `ValidateErrorCode`, `SearchContractByIdErrorCode`,
`RetrieveBarErrorCode`).
"""

from __future__ import annotations

from tickloom.actors.connection.errors import (
    CredentialsRefused,
    GatewayError,
    GatewayUnreachable,
    RequestRefused,
    SessionRefused,
)

LOGIN = "/api/Auth/loginKey"
VALIDATE = "/api/Auth/validate"
SEARCH = "/api/Contract/search"
SEARCH_BY_ID = "/api/Contract/searchById"
BARS = "/api/History/retrieveBars"

_KEY = "check PROJECT_X_USERNAME and PROJECT_X_API_KEY"

REFUSALS: dict[str, dict[int, tuple[type[GatewayError], str]]] = {
    LOGIN: {
        1: (CredentialsRefused, f"the gateway knows no such user: {_KEY}"),
        2: (CredentialsRefused, f"the gateway refused the password: log in with an API key; {_KEY}"),
        3: (CredentialsRefused, f"the gateway refused user name or API key: {_KEY}, and that the key is of this firm"),
        4: (CredentialsRefused, "the gateway does not know the application: log in with an API key instead"),
        5: (CredentialsRefused, "the gateway refused the application: log in with an API key instead"),
        6: (CredentialsRefused, "the gateway refused this device: allow it on the firm's site"),
        7: (CredentialsRefused, "the account's agreements are not signed: sign them on the firm's site, and try again"),
        8: (GatewayUnreachable, "the gateway failed at the log-in for a reason it does not know"),
        9: (CredentialsRefused, "the account has no API subscription: buy one on the firm's site"),
        10: (CredentialsRefused, "API keys are disabled for this account: enable them on the firm's site"),
    },
    VALIDATE: {
        1: (SessionRefused, "the token's session is not valid: a new log-in is needed"),
        2: (SessionRefused, "the gateway does not know the token's session: a new log-in is needed"),
        3: (SessionRefused, "the token has expired: a new log-in is needed"),
        4: (GatewayUnreachable, "the gateway failed to validate the token for a reason it does not know"),
    },
    SEARCH: {},
    SEARCH_BY_ID: {
        1: (RequestRefused, "the gateway knows no such contract: look its id up with a contract search"),
    },
    BARS: {
        1: (RequestRefused, "the gateway knows no such contract: look its id up with a contract search"),
        2: (RequestRefused, "the gateway refused the bars' unit: it must be 1 (second) to 6 (month)"),
        3: (RequestRefused, "the gateway refused the number of units a bar: it must be at least 1"),
        4: (RequestRefused, "the gateway refused the number of bars: it must be 1 to 20,000"),
    },
}


def refusal(endpoint: str, code: int, message: str | None) -> GatewayError:
    """Return the error for an answer with `success` false. The gateway's own words are added where there are any."""
    kind, sentence = REFUSALS[endpoint].get(
        code, (RequestRefused, f"the gateway refused {endpoint} with error code {code}, which it does not document")
    )
    text = f"{sentence} (error code {code}{': ' + message[:200] if message else ''})"
    if issubclass(kind, CredentialsRefused | RequestRefused):
        return kind(text, code)
    return kind(text)
