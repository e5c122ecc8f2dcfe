"""Who and what the terminal client talks about: names of people, titles of chats.

People are called by alias, else by name, else by login; a direct chat is called after the other
person. Everything is fetched once and kept, and already `one_line`: safe to print.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.chat_view import one_line
from gateway.client import Client, ClientError, RequestError

NAMES_PER_REQUEST: Final = 100
SEARCH_MAX: Final = 50


def best_name(user: Mapping[str, Any]) -> str:
    """What to call somebody, given a contact or a user object."""
    return one_line(user.get("alias") or user.get("name") or user.get("user") or user["uid"])


class Names:
    """A cache over the client's questions about users and threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._people: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        self._listed: list[str] = []

    def name_of(self, uid: str) -> str:
        return "you" if uid == self._client.uid else self._people.get(uid, one_line(uid))

    def title_of(self, thread: str) -> str:
        return self._titles.get(thread, one_line(thread))

    def call(self, thread: str, title: str) -> None:
        """A group got a name."""
        self._titles[thread] = one_line(title)

    def know(self, user: Mapping[str, Any]) -> None:
        """Somebody's name came by."""
        self._people[user["uid"]] = best_name(user)

    def peer(self, thread: str) -> str:
        """The other one of a direct chat."""
        one, _, other = thread.removeprefix("d:").partition(":")
        return other if one == self._client.uid else one

    async def refresh_contacts(self) -> None:
        for contact in await self._client.contacts():
            self.know(contact)

    async def learn_people(self, uids: set[str]) -> None:
        """Have a name for each of these."""
        missing = sorted(uids - self._people.keys() - {self._client.uid})
        for start in range(0, len(missing), NAMES_PER_REQUEST):
            for user in await self._client.users(missing[start : start + NAMES_PER_REQUEST]):
                self.know(user)

    async def learn_thread(self, thread: str, info: Mapping[str, Any] | None = None) -> None:
        """Have a title for a thread."""
        if thread in self._titles:
            return
        if thread.startswith("d:"):
            peer = self.peer(thread)
            await self.learn_people({peer})
            self._titles[thread] = self.name_of(peer)
            return
        try:
            info = info or (await self._client.group_info(thread))["info"]
        except RequestError:
            info = {}
        self.call(thread, info.get("name") or thread)

    async def list_threads(self) -> list[dict[str, Any]]:
        """The user's threads, newest first; `resolve` knows their numbers afterwards."""
        threads = await self._client.list_threads()
        for info in threads:
            await self.learn_thread(info["thread"], info)
        self._listed = [info["thread"] for info in threads]
        return threads

    async def resolve(self, word: str) -> str:
        """The thread meant by a number of the list, an @name, a group's name or an id; for a
        direct chat that does not exist yet, the id it will have. Raises ClientError."""
        if word.isdecimal() and 0 < int(word) <= len(self._listed):
            return self._listed[int(word) - 1]
        if word.startswith("@"):
            return "d:" + ":".join(sorted((self._client.uid, await self.uid_of(word))))
        for info in await self.list_threads():
            thread = str(info["thread"])
            if word == thread or word.casefold() == self.title_of(thread).casefold():
                return thread
        raise ClientError(f"there is no chat called {one_line(word)}; /list shows yours")

    async def uid_of(self, name: str) -> str:
        """The uid of an @name. Raises ClientError when there is nobody of that name."""
        wanted = name.removeprefix("@").casefold()
        found = await self._client.contacts()
        found += await self._client.search_users(wanted, SEARCH_MAX)
        for user in found:
            if user["user"] == wanted:
                self._people.setdefault(user["uid"], best_name(user))
                return str(user["uid"])
        raise ClientError(f"there is no user @{one_line(wanted)}")
