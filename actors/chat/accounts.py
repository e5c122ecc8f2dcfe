"""The accounts actor: registration, login, sessions, profiles, privacy, user search.

Every request runs in a task of its own, so a slow password hash holds up nobody. The actor itself
keeps only the recent login failures. A revoked session's sockets are closed by the user's session
actor, which hears `Revoked` before the request is answered to anybody else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio
from outcome import Error, Outcome, Value

from actors.chat.answers import Code, Done, Refused, Result
from actors.chat.messages import (
    AccountRequest,
    Authenticate,
    BlockChanged,
    Device,
    LoggedIn,
    Login,
    OnlineSids,
    Register,
    RelationChanged,
    Revoked,
    Show,
    channel_name,
    session_name,
)
from actors.chat.passwords import FailureWindow, Passwords, new_token, token_hash
from actors.chat.services import PRESENCE, Services, store_refusal
from actors.runtime import Actor, CallError
from persistence.errors import NameTaken, StoreError, TooMany
from persistence.records import (
    Account,
    AccountChange,
    Audience,
    LoginSession,
    SessionId,
    ThreadKind,
    UserId,
)

USER_PATTERN = re.compile(r"[a-z0-9_.]{3,32}")
PASSWORD_CHARS = (8, 256)
NAME_CHARS_MAX = 64
ABOUT_CHARS_MAX = 500
AVATAR_CHARS_MAX = 2048
DEVICE_CHARS_MAX = 64
SEARCH_LIMIT_MAX = 50
TOUCH_AFTER_MS = 60_000
"""A session's `seen` is written again only after this long: a reconnect storm writes little."""

ONLINE_DEADLINE_S = 1.0

REQUEST_DEADLINE_S = 10.0
"""Nobody waits longer. In a flood of logins it is what keeps the line at the password hashers as
short as what they get done in this time."""

WRONG = Refused(Code.BAD_CREDENTIALS, "unknown user or wrong password")

Verb = Callable[["Accounts", AccountRequest], Awaitable[Result]]


class Accounts(Actor):
    """Named `accounts`. Restarted at will: requests in flight are answered by the gateway."""

    def __init__(self, services: Services, passwords: Passwords) -> None:
        super().__init__()
        self._services = services
        self._passwords = passwords
        self._failures = FailureWindow(services.limits.login_failures_per_min)
        self._in_flight = 0

    def on_receive(self, message: Any) -> None:
        match message:
            case Register():
                self._begin_request(message.device, message.request, self._register, message)
            case Login():
                self._begin_request(message.device, message.request, self._login, message)
            case Authenticate():
                self._begin_request(message.device, message.request, self._authenticate, message)
            case AccountRequest():
                verb = VERBS[message.verb]
                self._begin_request(message.device, message.caller.request, verb, self, message)

    def _begin_request(
        self, device: Device, request: int, work: Callable[..., Awaitable[Result]], *args: Any
    ) -> None:
        self._in_flight += 1

        def done(result: Outcome[Result]) -> None:
            self._in_flight -= 1
            match result:
                case Value(answer):
                    device.answer(request, answer)
                case Error(StoreError() | TimeoutError() as error):
                    device.answer(request, store_refusal(error))
                case Error(error):
                    device.answer(request, Refused(Code.INTERNAL, "internal error", 1000))
                    raise error

        self.run_task(work, *args, on_done=done, timeout_s=REQUEST_DEADLINE_S)

    # ------------------------------------------------------------------ register, login, auth

    async def _register(self, message: Register) -> Result:
        user = message.user.casefold()
        refused = check_user(user) or check_password(message.password, "pass")
        refused = refused or check_text("name", message.name, NAME_CHARS_MAX)
        refused = refused or check_text("device", message.label, DEVICE_CHARS_MAX)
        if refused is not None:
            return refused
        if await self._services.accounts.by_name(user) is not None:
            return Refused(Code.NAME_TAKEN, "user: this name is taken")
        hashed = await self._passwords.hash(message.password)
        now_ms = self._services.wall_ms()
        draft = Account(UserId(""), user, message.name or user, hashed, now_ms)
        try:
            account = await self._services.accounts.create(draft)
        except NameTaken:
            return Refused(Code.NAME_TAKEN, "user: this name is taken")
        return await self._open_session(account, message.label)

    async def _login(self, message: Login) -> Result:
        """The same answer for an unknown user and a wrong password, after the same time."""
        user = message.user.casefold()
        keys = (f"user {user}", f"address {message.address}")
        account = await self._services.accounts.by_name(user)
        refused = await self._check(keys, account, message.password)
        if refused is not None or account is None:
            return refused or WRONG
        refused = check_text("device", message.label, DEVICE_CHARS_MAX)
        if refused is not None:
            return refused
        if self._passwords.is_outdated(account.password_hash):
            change = AccountChange(password_hash=await self._passwords.hash(message.password))
            await self._services.accounts.update(account.uid, change)
        return await self._open_session(account, message.label)

    async def _check(
        self, keys: tuple[str, ...], account: Account | None, password: str
    ) -> Refused | None:
        """Why the password does not open the account, if so. The lock is looked at again after the
        hash: guesses made at once are all under way before the first is found wrong."""
        locked_ms, fits = self._locked_ms(keys), False
        if not locked_ms:
            hashed = None if account is None else account.password_hash
            fits = await self._passwords.verify(hashed, password)
            locked_ms = self._locked_ms(keys)
        if locked_ms:
            return Refused(Code.RATE_LIMITED, "too many failed logins; try later", locked_ms)
        if fits:
            return None
        for key in keys:
            self._failures.failed(key, trio.current_time())
        return WRONG

    def _locked_ms(self, keys: tuple[str, ...]) -> int:
        now_s = trio.current_time()
        return max(self._failures.locked_ms(key, now_s) for key in keys)

    async def _open_session(self, account: Account, label: str) -> Result:
        token = new_token()
        now_ms = self._services.wall_ms()
        draft = LoginSession(
            SessionId(""),
            account.uid,
            label,
            token_hash(token),
            now_ms,
            now_ms,
            self._expiry(now_ms),
        )
        maximum = self._services.limits.sessions
        try:
            session = await self._services.sessions.add(draft, maximum)
        except TooMany:
            return Refused(Code.LIMIT, f"at most {maximum} sessions a user; revoke one first")
        login = LoggedIn(account.uid, session.sid, label, fresh=True)
        fields = {"uid": account.uid, "sid": session.sid, "token": token, "exp": session.expires_ms}
        return Done(fields | {"login": login})

    def _expiry(self, now_ms: int) -> int:
        return now_ms + round(self._services.times.token_ttl_s * 1000)

    async def _authenticate(self, message: Authenticate) -> Result:
        session = await self._services.sessions.by_token(token_hash(message.token))
        now_ms = self._services.wall_ms()
        if session is None or session.expires_ms <= now_ms:
            return Refused(Code.TOKEN_INVALID, "token: invalid or expired")
        expires_ms = session.expires_ms
        if now_ms - session.seen_ms >= TOUCH_AFTER_MS:
            expires_ms = self._expiry(now_ms)
            await self._services.sessions.touch(session.uid, session.sid, now_ms, expires_ms)
        login = LoggedIn(session.uid, session.sid, session.device, fresh=False)
        return Done({"uid": session.uid, "sid": session.sid, "exp": expires_ms, "login": login})

    # ------------------------------------------------------------------ sessions

    async def _logout(self, message: AccountRequest) -> Result:
        await self._revoke(message, {message.device.sid}, by=message.device)
        return Done()

    async def _passwd(self, message: AccountRequest) -> Result:
        uid, fields = message.caller.uid, message.fields
        refused = check_password(fields["new"], "new")
        if refused is not None:
            return refused
        account = (await self._services.accounts.by_ids((uid,)))[uid]
        refused = await self._check((f"user {account.user}",), account, fields["old"])
        if refused is not None:
            return refused
        hashed = await self._passwords.hash(fields["new"])
        await self._services.accounts.update(uid, AccountChange(password_hash=hashed))
        if not fields.get("keep_others"):
            await self._revoke(message, await self._others(message))
        return Done()

    async def _session_list(self, message: AccountRequest) -> Result:
        uid = message.caller.uid
        ref = self.system.whereis(session_name(uid))
        online: frozenset[SessionId] = frozenset((message.device.sid,))
        if ref is not None:
            # Between two incarnations only the asking device is known to be online.
            with contextlib.suppress(CallError):
                online |= await ref.call(OnlineSids(), timeout_s=ONLINE_DEADLINE_S)
        now_ms = self._services.wall_ms()
        sessions = [
            {"sid": session.sid, "device": session.device, "created": session.created_ms,
             "seen": now_ms if session.sid in online else session.seen_ms,
             "current": session.sid == message.device.sid, "online": session.sid in online}
            for session in await self._services.sessions.of_user(uid)
            if session.expires_ms > now_ms
        ]  # fmt: skip
        return Done({"sessions": sessions})

    async def _session_revoke(self, message: AccountRequest) -> Result:
        sid = message.fields["sid"]
        sids = await self._others(message) if sid == "others" else {SessionId(sid)}
        revoked = await self._revoke(message, sids)
        if not revoked and sid != "others":
            return Refused(Code.NOT_FOUND, "sid: no such session")
        return Done({"count": len(revoked)})

    async def _others(self, message: AccountRequest) -> set[SessionId]:
        sessions = await self._services.sessions.of_user(message.caller.uid)
        return {session.sid for session in sessions} - {message.device.sid}

    async def _revoke(
        self, message: AccountRequest, sids: set[SessionId], by: Device | None = None
    ) -> frozenset[SessionId]:
        """Delete sessions, then have their sockets closed; the asking device's `ok` goes first."""
        uid = message.caller.uid
        revoked = frozenset(await self._services.sessions.revoke(uid, sids))
        if revoked:
            own = message.device.sid in revoked
            if own and by is None:
                message.device.answer(message.caller.request, Done({"count": len(revoked)}))
            elif own:
                message.device.answer(message.caller.request, Done())
            self._tell_user(uid, Revoked(revoked))
        return revoked

    # ------------------------------------------------------------------ people

    async def _user_get(self, message: AccountRequest) -> Result:
        uids = [UserId(uid) for uid in message.fields["uids"]]
        accounts = await self._services.accounts.by_ids(uids)
        users = [card(accounts[uid]) for uid in dict.fromkeys(uids) if uid in accounts]
        return Done({"users": users})

    async def _user_search(self, message: AccountRequest) -> Result:
        prefix = message.fields["q"].strip().casefold()
        if not prefix:
            return Refused(Code.BAD_REQUEST, "q: empty")
        wanted = message.fields.get("limit")
        limit = min(max(1, 20 if wanted is None else wanted), SEARCH_LIMIT_MAX)
        found = await self._services.accounts.search(prefix, SEARCH_LIMIT_MAX * 2)
        blockers = await self._services.contacts.blocked_by(
            message.caller.uid, [account.uid for account in found]
        )
        users = [card(account) for account in found if account.uid not in blockers]
        return Done({"users": users[:limit]})

    async def _profile_set(self, message: AccountRequest) -> Result:
        fields = message.fields
        refused = check_text("name", fields.get("name"), NAME_CHARS_MAX, least=1)
        refused = refused or check_text("about", fields.get("about"), ABOUT_CHARS_MAX)
        refused = refused or check_text("avatar", fields.get("avatar"), AVATAR_CHARS_MAX)
        if refused is not None:
            return refused
        uid = message.caller.uid
        given = {k: fields[k] for k in ("name", "about", "avatar") if fields.get(k) is not None}
        await self._services.accounts.update(uid, AccountChange(**given))
        body = msgspec.json.encode({"e": "profile", "uid": uid} | given)
        self._tell_user(uid, Show(("profile",), body, but=message.caller.device))
        return Done()

    async def _privacy_set(self, message: AccountRequest) -> Result:
        uid, fields = message.caller.uid, message.fields
        change: dict[str, Any] = {}
        for name in ("last_seen", "receipts"):
            if fields.get(name) is not None:
                if fields[name] not in tuple(Audience):
                    return Refused(
                        Code.BAD_REQUEST, f"{name}: must be everyone, contacts or nobody"
                    )
                change[name] = Audience(fields[name])
        if change:
            await self._services.accounts.update(uid, AccountChange(**change))
            self._tell(PRESENCE, RelationChanged(uid))
        if "receipts" in change:
            for row in await self._services.threads.memberships(uid):
                if row.meta.kind is ThreadKind.DM:
                    self._tell(channel_name(row.meta.thread), BlockChanged())
        account = (await self._services.accounts.by_ids((uid,)))[uid]
        return Done({"last_seen": account.last_seen.value, "receipts": account.receipts.value})

    def _tell_user(self, uid: UserId, message: object) -> None:
        self._tell(session_name(uid), message)

    def _tell(self, name: str, message: object) -> None:
        ref = self.system.names.get(name)
        if ref is not None:
            ref.cast(message)

    def statistics(self) -> dict[str, int]:
        """Live state for the tree and for metrics."""
        return {"in_flight": self._in_flight, "failing_keys": len(self._failures)}


VERBS: Mapping[str, Verb] = {
    "logout": Accounts._logout,
    "passwd": Accounts._passwd,
    "session.list": Accounts._session_list,
    "session.revoke": Accounts._session_revoke,
    "user.get": Accounts._user_get,
    "user.search": Accounts._user_search,
    "profile.set": Accounts._profile_set,
    "privacy.set": Accounts._privacy_set,
}


def card(account: Account) -> dict[str, str]:
    """What everybody may know of a user."""
    return {
        "uid": account.uid,
        "user": account.user,
        "name": account.name,
        "about": account.about,
        "avatar": account.avatar,
    }


def check_user(user: str) -> Refused | None:
    if USER_PATTERN.fullmatch(user) is None:
        return Refused(Code.BAD_REQUEST, "user: 3 to 32 of a-z, 0-9, underscore and dot")
    return None


def check_password(password: str, name: str) -> Refused | None:
    low, high = PASSWORD_CHARS
    if not low <= len(password) <= high:
        return Refused(Code.BAD_REQUEST, f"{name}: must have {low} to {high} characters")
    return None


def check_text(name: str, text: str | None, most: int, least: int = 0) -> Refused | None:
    if text is None:
        return None
    if len(text) > most:
        return Refused(Code.TOO_LARGE, f"{name}: at most {most} characters")
    if len(text.strip()) < least:
        return Refused(Code.BAD_REQUEST, f"{name}: must not be empty")
    return None
