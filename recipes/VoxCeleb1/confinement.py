"""Files that a list from a stranger may name: those of the data folder."""

import os
import re

# Below the data folder, a folder of audio may itself be a link: users set
# these. See `voxceleb1_layout`.
WAV_FOLDER = re.compile("([^/]+/){0,2}?wav(?=/)")


class Confinement:
    """Refuse what leaves the data folder, by `..`, from the root, by a link.

    Arguments
    ---------
    data_folder : str
        VoxCeleb1. It, and the folder `wav` in it, may be links.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> confinement = Confinement(str(folder))
    >>> confinement.check("wav/id10001/x/00001.wav")
    >>> confinement.check("wav/../../secret.wav")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: wav/../../secret.wav leaves the data folder .../...
    """

    def __init__(self, data_folder: str):
        self.data_folder = data_folder
        self.real_folder = os.path.realpath(data_folder)
        self.known: set[str] = set()  # folders that are inside

    def check(self, name: str) -> None:
        """Look at a file, named from the data folder on.

        Arguments
        ---------
        name : str
            Such as wav/id10001/1zcIwhmdeo4/00001.wav.

        Raises
        ------
        ValueError
            Where it leaves the data folder.
        """
        folder, _, file = name.rpartition("/")
        if folder not in self.known:
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(self._refusal(name))
            self._check_real(name, folder)
            self.known.add(folder)
        path = f"{self.data_folder}/{name}"
        if file == ".." or os.path.islink(path):
            self._check_real(name, name)

    def _check_real(self, name: str, inner: str) -> None:
        real = os.path.realpath(f"{self.data_folder}/{inner}")
        roots = [self.real_folder]
        match = WAV_FOLDER.match(name)
        if match:
            roots.append(os.path.realpath(f"{self.data_folder}/{match[0]}"))
        if not any(f"{real}/".startswith(f"{root}/") for root in roots):
            raise ValueError(self._refusal(name))

    def _refusal(self, name: str) -> str:
        return (
            f"{name} leaves the data folder {self.data_folder}, so a list "
            "could name any file: have it lie there, not a link to it"
        )
