"""The tables that methods build on, each read once, when a method first asks for it."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.methods import MethodInputs
from salt_ext.methods.core.needs import advice
from salt_ext.pair.pair import Pair
from salt_ext.pair.source_tables import SourceTables
from salt_ext.pair.table_facts import TableFacts, examine_table
from salt_ext.pair.tokenizer_alone import TokenizerAlone
from salt_ext.runtime.device import Placement
from salt_ext.runtime.progress import Clock
from salt_ext.vectors import VectorSource, look_up, rows_for
from salt_ext.vocab import Anchors

_STOOD_IN = (
    "the donor is a tokenizer alone: the auxiliary vectors stand in for donor rows, so that they choose a token's "
    "neighbours and are what is regressed on"
)
_UNUSED = "aux: vectors are given, and the method makes no use of them"


class PairTables:
    """Tables of a pair of models, in which auxiliary vectors stand in for the rows that a tokenizer alone lacks.

    Attributes:
        source: those of the source.
        donor_facts: hash and norms of the donor's table; None until it is read.
        stood_in: whether a method has asked for donor rows, and was given auxiliary vectors.
    """

    def __init__(self, pair: Pair, vectors: VectorSource | None, clock: Clock) -> None:
        """Reads nothing.

        Args:
            pair: the two models.
            vectors: the auxiliary vectors; None for the donor's own table, if it has one.
            clock: notified of every reading.
        """
        self._pair, self._vectors, self._clock = pair, vectors, clock
        self.source = SourceTables(pair.source.checkpoint, pair.source.vocabulary.tokens)
        self.donor_facts: TableFacts | None = None
        self.forget_uses()

    def forget_uses(self) -> None:
        """What was asked for until now is not counted: it was for a trial."""
        self.stood_in = False
        self._used = False

    def close(self) -> None:
        """Gives the tables' memory back; they are read again if they are asked for."""
        self.source.close()
        for name in ("_donor", "_auxiliary"):
            self.__dict__.pop(name, None)

    @property
    def lack(self) -> str | None:
        """Why there is neither a donor's table nor vectors, the middle of a sentence; None where there is either."""
        donor = self._pair.donor
        return donor.lack if isinstance(donor, TokenizerAlone) and self._vectors is None else None

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the tables that were read."""
        unused = self._vectors is not None and not self._used
        return [_STOOD_IN] * self.stood_in + [_UNUSED] * unused

    @property
    def donor(self) -> Tensor:
        """The donor's row of each target token; of a tokenizer alone its auxiliary vector.

        Raises:
            InputError: there is neither; or the table cannot be used.
        """
        if isinstance(self._pair.donor, TokenizerAlone) and self._vectors is not None:
            self.stood_in = self._used = True
        return self._donor

    @property
    def auxiliary(self) -> Tensor:
        """The auxiliary vector of each target token.

        Raises:
            InputError: there is none, nor a donor's table.
        """
        self._used = True
        return self._auxiliary

    @cached_property
    def _donor(self) -> Tensor:
        donor = self._pair.donor
        if isinstance(donor, TokenizerAlone):
            if self._vectors is None:
                raise InputError(f"donor: {donor.lack}: {advice()}")
            return self.auxiliary
        with self._clock.step("read the donor's table"):
            table = donor.checkpoint.input_table()
            self.donor_facts = examine_table(table, name="donor: its table", tokens=donor.vocabulary.tokens)
            target = self._pair.target
            if target.swapped is None:
                return rows_for(target.vocabulary, donor.vocabulary, donor.tokenizer, table)
            # In the order of the donor's ids first, in which its table is taken as it is.
            ordered = rows_for(target.vocabulary.swapped(*target.swapped), donor.vocabulary, donor.tokenizer, table)
            ordered[list(target.swapped)] = ordered[list(target.swapped[::-1])]
            return ordered

    @cached_property
    def _auxiliary(self) -> Tensor:
        if self._vectors is None:
            return self.donor
        with self._clock.step("read the auxiliary vectors"):
            return look_up(self._vectors, self._pair.target.vocabulary)

    def _source_input(self) -> Tensor:
        with self._clock.step("read the source's tables"):
            return self.source.input

    def material(self, anchors: Anchors, *, seed: int = 0, placement: Placement | None = None) -> MethodInputs:
        """What a method is given."""
        pair = self._pair
        return MethodInputs(
            source=pair.source.vocabulary,
            target=pair.target.vocabulary,
            anchors=anchors,
            read_donor=lambda: self.donor,
            read_auxiliary=lambda: self.auxiliary,
            read_source=self._source_input,
            stands_in=isinstance(pair.donor, TokenizerAlone),
            source_tokenizer=pair.source.tokenizer,
            target_tokenizer=pair.target.tokenizer,
            swapped=pair.target.swapped,
            tied=pair.source.checkpoint.vocabulary_tensors().tied,
            seed=seed,
            placement=placement or Placement(),
            progress=self._clock.advance,
        )
