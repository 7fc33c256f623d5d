# In the image's build: installs the package into /opt/r3mes, lists what is there, and copies what
# the dependencies do not have yet to /overlay, so that a new version is one small layer.
set -eu
cd /
sbom=usr/share/doc/r3mes/sbom.json
/tools/bin/uv pip install --quiet --no-cache --offline --python /opt/r3mes --compile-bytecode \
  --no-deps /dist/*.whl
/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file $sbom \
  /opt/r3mes/bin/python
mkdir /overlay
cp -a --parents $sbom opt/r3mes/bin/r3mes opt/r3mes/lib/python3*/site-packages/r3mes \
  opt/r3mes/lib/python3*/site-packages/r3mes-*.dist-info /overlay
