"""The command `guardalign serve` and its options; the server is imported on use."""

from __future__ import annotations

from typing import Annotated

import typer

from guardalign_middleware.cli.options import Mode, Preset
from guardalign_middleware.cli.running import run


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8000; 0 is any free port.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable with the key that clients send. Without it, only "
            "loopback addresses are allowed.",
        ),
    ] = None,
    model_name: Annotated[
        str | None, typer.Option(help="Name of the model for clients. Default: the preset's.")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Service that answers behind the guard, instead of a local model."
        ),
    ] = None,
    upstream_key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the key for the upstream."),
    ] = None,
    upstream_seconds: Annotated[
        float | None, typer.Option(help="How long the upstream may be silent.")
    ] = None,
    on_unsafe: Annotated[
        str | None,
        typer.Option(metavar="[mask|notice|block]", help="What it gets of an unsafe picture."),
    ] = None,
    on_refused: Annotated[
        str | None,
        typer.Option(metavar="[raise|notice]", help="For what cannot be looked at, if it is new."),
    ] = None,
    on_blocked: Annotated[
        str | None,
        typer.Option(metavar="[reply|notice]", help="For a blocked picture, if it is new."),
    ] = None,
    allow_unscanned: Annotated[
        bool | None, typer.Option(help="Let files and stored turns for the upstream pass unseen.")
    ] = None,
    max_requests: Annotated[
        int | None, typer.Option(help="Requests at work or waiting; more get a 429.")
    ] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help="Size of a request.")] = None,
    max_images: Annotated[int | None, typer.Option(help="Pictures in one request.")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Pixels of all pictures of one request.")
    ] = None,
    max_text_characters: Annotated[
        int | None, typer.Option(help="Characters of all texts of one request.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Longest answer that may be asked for.")
    ] = None,
    body_seconds: Annotated[
        float | None, typer.Option(help="How long a client may take to send a request.")
    ] = None,
    stalled_seconds: Annotated[
        float | None, typer.Option(help="How long a client may not read its answer.")
    ] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="How long requests may go on after SIGTERM.")
    ] = None,
    retry_after_seconds: Annotated[
        int | None, typer.Option(help="When a refused client should ask again.")
    ] = None,
    playground: Annotated[
        bool, typer.Option("--playground", help='Also serve /playground (extra "playground").')
    ] = False,
    mode: Mode = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help='Serve on a cluster of Ray (extra "ray"): its address, "auto" for the one that '
            'runs here, or "local" to start one on this machine.',
        ),
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option(
            metavar="N|LEAST:MOST", help="Servers on the cluster; more start when requests wait."
        ),
    ] = None,
    preset: Preset = "mini",
) -> None:
    """Serve the guard over HTTP, in the form of OpenAI's API.

    Needs the extra "serve". Defaults of the limits are in the preset's section `serve`; see
    docs/serve.md.

    Exit status: 0 ended by SIGTERM, 3 the program failed, 130 interrupted.
    """
    own = ("preset", "playground", "mode", "ray", "replicas")
    options = {name: value for name, value in context.params.items() if name not in own}
    if ray is None:
        if replicas is not None:
            raise typer.BadParameter("--replicas needs --ray.")
        from guardalign_middleware.cli.serve import run_serve

        run(lambda: run_serve(preset, options, mode=mode, playground=playground))
    if playground:
        raise typer.BadParameter("--playground cannot be combined with --ray.")
    from guardalign_middleware.cli.serve_ray import run_serve_on_ray

    run(lambda: run_serve_on_ray(preset, options, address=str(ray), replicas=replicas, mode=mode))
