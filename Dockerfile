# README's first command in an image of its own. Untested: nobody has built it yet.
#
#   docker build -t aef-world-model .
#   docker run --rm -v "$PWD/runs:/aef/runs" aef-world-model python -m agents.train env=cheetah-run
FROM python:3.11-slim

WORKDIR /aef
COPY . .
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir -e '.[train,plot]'
CMD ["python", "-m", "agents.doctor"]
