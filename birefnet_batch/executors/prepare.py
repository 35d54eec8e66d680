"""The first step of a job: what its source is, whether anything is left to do, and how it is cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from birefnet_batch.executors.base import Observer, RunContext
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.executors.job_keys import find_key
from birefnet_batch.executors.ledger import Ledger
from birefnet_batch.executors.workspace import Workspace
from birefnet_batch.jobs import Job
from birefnet_batch.results import JobRecord, ModelRecord
from birefnet_batch.segment_task import SegmentTask
from birefnet_batch.segments import Segment, plan_segments
from birefnet_batch.settings import MediaSettings, Resume
from birefnet_batch.storage import SourceFacts, source_facts
from birefnet_batch.video import depth
from birefnet_batch.video.encode import EncodeSpec, Kind
from birefnet_batch.video.formats import format_of
from birefnet_batch.video.hardware import encoder_of, fitting
from birefnet_batch.video.info import BT709, VideoInfo
from birefnet_batch.video.look import Look, look_of
from birefnet_batch.video.probe import probe


@dataclass(frozen=True)
class Plan:
    """A job that is ready to be worked on; small and picklable, for its segments may be done anywhere."""

    job: Job
    facts: SourceFacts
    record: JobRecord
    whole: SegmentTask
    """A task whose `segment`, `source` and `folder` each worker sets for itself."""
    segments: tuple[Segment, ...]

    def task(self, index: int, source: Path, folder: Path) -> SegmentTask:
        """The task of one segment, for a worker that has the source and the parts there."""
        return replace(self.whole, segment=self.segments[index], source=source, folder=folder)

    def frames(self, index: int) -> int | None:
        """How many frames a segment has, as far as the container says."""
        segment = self.segments[index]
        stop = segment.stop.frame if segment.stop is not None else self.whole.info.frames
        return None if stop is None else max(0, stop - (segment.start.frame if segment.start is not None else 0))


def prepare(
    context: RunContext, engines: EngineCache, workspace: Workspace, job: Job, ledger: Ledger, observer: Observer
) -> Plan | None:
    """Find out what there is to do; None when the job is complete.

    Raises:
        BirefnetBatchError: why it cannot be done; the ledger has what was found until then.
    """
    settings, media, form = context.settings, context.settings.media, format_of(job.request.video_output_type)
    look = look_of(form, media)
    ledger.note(
        media={
            **ledger.record.media,
            **look.to_dict(),
            "encoder": encoder_of(form, media),
            "deinterlace": media.deinterlace_wish,
        }
    )
    facts = source_facts(job.uri, settings.storage)
    ledger.found(size=facts.size, fingerprint=facts.fingerprint)
    key, weights, precision = find_key(engines, settings, job, facts.fingerprint)
    if settings.resume is Resume.auto and job.is_complete(context.output.list(job.folder), key):
        return None
    spec = engines.model(job.request.model)
    ledger.note(
        key=key,
        model=ModelRecord(spec.name, spec.network, weights.source, weights.sha256, spec.licence),
        engine=engines.asked(precision),
    )
    source = workspace.open(job, facts)
    with workspace.naming(job):
        info = probe(source.path, settings.media.decode_timeout_s, settings.media.decode_memory_bytes)
    observer.length(info.frames)
    ledger.found(
        width=info.width,
        height=info.height,
        duration=None if info.duration is None else float(info.duration),
        container=info.container,
        codec=info.codec,
        audio_tracks=info.audio_tracks,
    )
    form.check_size(info.width, info.height)
    encoder, reasons = fitting(form, media, (info.width, info.height))
    with workspace.naming(job):
        cut = plan_segments(source.path, info, form, media.segment_frames, media.decode_timeout_s)
    ledger.note(
        media={**ledger.record.media, "encoder": encoder},
        segments=len(cut.segments),
        notes=[*reasons, *depth.notes(info, form), *cut.notes],
    )
    whole = _whole(job, source.path, info, look, media, encoder)
    return Plan(job, facts, ledger.record, whole, cut.segments)


def _whole(job: Job, source: Path, info: VideoInfo, look: Look, media: MediaSettings, encoder: str) -> SegmentTask:
    request, form = job.request, format_of(job.request.video_output_type)
    mapped = depth.tone_maps(info, form)
    kinds: tuple[Kind, ...] = ("video", "mask") if request.output_mask else ("video",)
    return SegmentTask(
        source=source,
        info=info,
        segment=Segment(0),
        size=request.size,
        refine_foreground=request.refine_foreground,
        backdrop=look.backdrop,
        premultiplied=look.premultiplied,
        encode=EncodeSpec(
            output_type=request.video_output_type,
            quality=request.video_quality,
            write_mode=request.video_write_mode,
            width=info.width,
            height=info.height,
            time_base=info.time_base,
            average_rate=info.average_rate,
            sample_aspect_ratio=info.sample_aspect_ratio,
            threads=media.encoder_threads,
            encoder=encoder,
            alpha=look.alpha,
            primaries=BT709 if mapped else info.primaries,
            transfer=BT709 if mapped else info.transfer,
            dither=depth.dithers(info, form),
            tags=info.tags,
            chapters=info.chapters,
        ),
        folder=source.parent,
        kinds=kinds,
        decode_timeout_s=media.decode_timeout_s,
        decode_memory_bytes=media.decode_memory_bytes,
        corrupt_frames=media.corrupt_frames.value,
        deinterlace=media.deinterlace_wish,
    )
