"""What environments have whose episodes may each be of another network."""

from __future__ import annotations

from collections.abc import Mapping

from qnum_gym.streams import Stream


class Streamed:
    """An environment that may draw its networks from a `Stream`."""

    _stream: Stream | None = None

    @property
    def stream(self) -> Stream | None:
        """Where each episode's network is drawn from, if it is another one each time."""
        return self._stream

    def set_stream_weights(self, weights: Mapping[str, float]) -> None:
        """`Stream.set_weights`, for whoever reaches an environment by a method's name alone.

        An environment in another process has a copy of the stream: `env_method` of SB3's SubprocVecEnv and `call` of
        Gymnasium's AsyncVectorEnv come to it, `stream.set_weights` here does not.

        Raises:
            ValueError: as `Stream.set_weights`, or there is no stream.
        """
        if self._stream is None:
            raise ValueError("weights: always the same network here; valid: with families=, or a Stream as scenario")
        self._stream.set_weights(weights)
