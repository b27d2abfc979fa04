"""The newest layout of ``agent.db``, for a new file: what the steps of :mod:`.migrations` come to.

A new file needs none of those steps, and a device that never had another none of what they import.
"""

from __future__ import annotations

from headwater_agent.segment_log import TABLE

NEWEST = (
    """CREATE TABLE "streams" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT NOT NULL,
   "progress" BLOB,
   "standing" BLOB)""",
    """CREATE UNIQUE INDEX "idx_streams_name" ON "streams" ("name")""",
    """INSERT INTO streams (id, name) VALUES (0, '')""",
    """CREATE TABLE "checkpoint" (
   "id" INTEGER PRIMARY KEY,
   "state" BLOB NOT NULL,
   "learned_through" INTEGER)""",
    """CREATE TABLE "updates" (
   "sequence" INTEGER PRIMARY KEY,
   "task" TEXT,
   "base" TEXT,
   "learned_through" INTEGER,
   "taken_ms" INTEGER)""",
    """CREATE TABLE "events" (
   "id" INTEGER PRIMARY KEY,
   "time" INTEGER,
   "kind" TEXT,
   "detail" TEXT)""",
    """CREATE TABLE "counters" (
   "name" TEXT PRIMARY KEY,
   "value" INTEGER NOT NULL)""",
    """CREATE TABLE "alarms" (
   "id" INTEGER PRIMARY KEY,
   "stream" INTEGER NOT NULL,
   "time" INTEGER NOT NULL,
   "detector" TEXT NOT NULL,
   "channel" TEXT NOT NULL,
   "value" REAL,
   "before" REAL)""",
    """CREATE TABLE "marks" (
   "id" INTEGER PRIMARY KEY,
   "stream" INTEGER NOT NULL,
   "time" INTEGER NOT NULL,
   "channel" INTEGER NOT NULL,
   "value" REAL NOT NULL,
   "reason" TEXT NOT NULL)""",
    """CREATE UNIQUE INDEX "idx_marks_stream_time_channel"
   ON "marks" ("stream", "time", "channel")""",
    """CREATE TABLE "held" (
   "id" INTEGER PRIMARY KEY,
   "stream" INTEGER NOT NULL,
   "time" INTEGER NOT NULL,
   "label" REAL NOT NULL,
   "reserved" INTEGER NOT NULL)""",
    """CREATE UNIQUE INDEX "idx_held_stream_time" ON "held" ("stream", "time")""",
    TABLE,
    """CREATE TABLE "versions" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT NOT NULL)""",
    """CREATE UNIQUE INDEX "idx_versions_name" ON "versions" ("name")""",
    """CREATE TABLE "outbox" (
   "id" INTEGER PRIMARY KEY,
   "token" INTEGER NOT NULL,
   "topic" TEXT NOT NULL,
   "payload" BLOB NOT NULL,
   "retain" INTEGER NOT NULL)""",
)
"""The statements that make it."""
