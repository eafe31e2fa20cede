"""Recordings of runs: mp4, subtitles, action log and contact sheet."""

from longlive_env.recording.folder import Recording
from longlive_env.recording.log import (
    ActionLog,
    LogBlock,
    LogGoal,
    LogHeader,
    LogWriter,
    digest,
    log_file,
    read_log,
)
from longlive_env.recording.sheet import ContactSheet
from longlive_env.recording.start import START, read_frames, write_frames
from longlive_env.recording.subtitles import SubtitleWriter
from longlive_env.recording.video import VideoWriter

__all__ = [
    "START",
    "ActionLog",
    "ContactSheet",
    "LogBlock",
    "LogGoal",
    "LogHeader",
    "LogWriter",
    "Recording",
    "SubtitleWriter",
    "VideoWriter",
    "digest",
    "log_file",
    "read_frames",
    "read_log",
    "write_frames",
]
