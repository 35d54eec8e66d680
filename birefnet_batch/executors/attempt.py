"""One attempt at one job: source, segments, join, publication."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet_batch.engines import resolve_precision
from birefnet_batch.errors import InputError
from birefnet_batch.executors.base import JobOutcome, Observer, RunContext
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.jobs import Job, job_key, marker
from birefnet_batch.models.registry import find_model
from birefnet_batch.pipeline import Kind, SegmentTask, join, process_segment
from birefnet_batch.publish import Media, publish
from birefnet_batch.results import JobRecord, ModelRecord, SourceRecord, markers, utc_now
from birefnet_batch.segments import plan_segments
from birefnet_batch.settings import Resume
from birefnet_batch.storage import LocalSource, open_source, source_facts
from birefnet_batch.uris import is_local
from birefnet_batch.video.encode import EncodeSpec
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.info import VideoInfo
from birefnet_batch.video.look import look_of
from birefnet_batch.video.probe import probe


@contextmanager
def _named(path: Path, uri: str) -> Iterator[None]:
    """In errors name the source and not the fetched copy, which is gone when they are read."""
    try:
        yield
    except InputError as error:
        error.args = (str(error).replace(str(path), uri),)
        raise


class Attempt:
    """`record` grows as facts become known, so that a failure's record has them too."""

    def __init__(
        self,
        context: RunContext,
        engines: EngineCache,
        job: Job,
        number: int,
        observer: Observer,
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._engines = engines
        self._job = job
        self._observer = observer
        self._started = time.perf_counter()
        self.record = JobRecord(
            job_id=job.job_id,
            status="failed",
            request={**job.request.to_dict(), "video_url": job.display_uri},
            source=SourceRecord(uri=job.display_uri),
            attempts=number,
            media=context.settings.to_dict()["media"],
            started=utc_now(),
            run_id=context.run_id,
            versions=context.versions,
        )

    def run(self) -> JobOutcome:
        """Do the job.

        Raises:
            BirefnetBatchError: why it cannot be done.
        """
        job, settings = self._job, self._settings
        self._look = look_of(format_of(job.request.video_output_type), settings.media)
        self.record = replace(self.record, media={**self.record.media, **self._look.to_dict()})
        facts = source_facts(job.uri, settings.storage)
        self._found(size=facts.size, fingerprint=facts.fingerprint)
        spec = find_model(job.request.model)
        weights = self._engines.weights(spec)
        precision = resolve_precision(settings.engine.precision.value, settings.engine.device.value)
        key = job_key(job, facts.fingerprint, weights.sha256, precision, settings.media)
        if settings.resume is Resume.auto and marker(key) in markers(self._context.output, job):
            return JobOutcome(job, "skipped")
        self.record = replace(
            self.record,
            key=key,
            model=ModelRecord(spec.name, spec.network, weights.source, weights.sha256),
            engine=self._engines.asked(precision),
        )
        with ExitStack() as context:
            folder = self._context.output.scratch / job.job_id
            folder.mkdir(parents=True, exist_ok=True)
            context.callback(shutil.rmtree, folder, ignore_errors=True)
            source = context.enter_context(open_source(job.uri, facts, folder, settings.storage))
            if not is_local(job.uri):
                context.enter_context(_named(source.path, job.display_uri))
            info = probe(source.path, timeout_s=settings.media.decode_timeout_s)
            self._observer.length(info.frames)
            self._found(
                width=info.width,
                height=info.height,
                duration=None if info.duration is None else float(info.duration),
                container=info.container,
                codec=info.codec,
                audio_tracks=info.audio_tracks,
            )
            media = self._make(source, info, folder)
        # Only now: leaving the context checked that the source did not change under the work.
        return self._publish(source, media)

    def _found(self, **facts: Any) -> None:
        self.record = replace(self.record, source=replace(self.record.source, **facts))

    def _tasks(self, source: LocalSource, info: VideoInfo, folder: Path) -> list[SegmentTask]:
        request, media = self._job.request, self._settings.media
        form = format_of(request.video_output_type)
        encode = EncodeSpec(
            output_type=request.video_output_type,
            quality=request.video_quality,
            write_mode=request.video_write_mode,
            width=info.width,
            height=info.height,
            time_base=info.time_base,
            average_rate=info.average_rate,
            sample_aspect_ratio=info.sample_aspect_ratio,
            threads=media.encoder_threads,
            alpha=self._look.alpha,
            tags=info.tags,
            chapters=info.chapters,
        )
        kinds: tuple[Kind, ...] = ("video", "mask") if request.output_mask else ("video",)
        return [
            SegmentTask(
                source=source.path,
                info=info,
                segment=segment,
                size=request.size,
                refine_foreground=request.refine_foreground,
                backdrop=self._look.backdrop,
                premultiplied=self._look.premultiplied,
                encode=encode,
                folder=folder,
                kinds=kinds,
                decode_timeout_s=media.decode_timeout_s,
            )
            for segment in plan_segments(info.frames, media.segment_frames if form.joinable else None)
        ]

    def _make(self, source: LocalSource, info: VideoInfo, folder: Path) -> list[Media]:
        media_settings = self._settings.media
        tasks = self._tasks(source, info, folder)
        engine = self._engines.engine(find_model(self._job.request.model), self._job.request.size)
        self.record = replace(self.record, engine=engine.describe(), segments=len(tasks))
        seconds: dict[str, float] = {}
        notes: list[str] = []
        if media_settings.segment_frames and not format_of(tasks[0].encode.output_type).joinable:
            notes.append(f"{tasks[0].encode.output_type} cannot be joined of segments: the video was kept whole")
        frames = end = 0
        for task in tasks:
            segment = process_segment(task, engine, self._observer.frames)
            frames += segment.frames
            end = segment.end
            notes += segment.notes
            for stage, busy in segment.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + busy
        self._found(frames=frames)
        made: list[Media] = []
        for kind in tasks[0].kinds:
            started = time.perf_counter()
            staged = self._context.output.staged(f"{self._job.job_id}.{kind}")
            facts = join(
                tasks,
                kind,
                staged,
                end=end,
                audio=media_settings.audio,
                timeout_s=media_settings.decode_timeout_s,
            )
            made.append(Media.from_join(kind, self._job, tasks[0].encode, staged, facts))
            notes += facts.notes
            seconds["join"] = seconds.get("join", 0.0) + time.perf_counter() - started
        self.record = replace(
            self.record,
            timings={stage: round(busy, 3) for stage, busy in seconds.items()},
            notes=list(dict.fromkeys(notes)),
        )
        return made

    def _publish(self, source: LocalSource, media: list[Media]) -> JobOutcome:
        self._found(sha256=source.sha256())
        record = replace(
            self.record,
            status="succeeded",
            timings={**self.record.timings, "total": round(time.perf_counter() - self._started, 3)},
            finished=utc_now(),
        )
        result = publish(self._context.output, self._job, record, media)
        return JobOutcome(self._job, "succeeded", frames=record.source.frames or 0, result=result.to_dict())
